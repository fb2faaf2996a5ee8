"""k-NN and the grid of 52 linear probes at ImageNet's size, on a CPU, each contender in a process of its own.

    OMP_NUM_THREADS=1 python -m benchmarks.imagenet knn --queries 500
    OMP_NUM_THREADS=1 python -m benchmarks.imagenet grid --steps 4

Features are drawn and lie in half precision in a file of full size that all contenders map; it is deleted at the end.
"own" is the most anonymous memory of a contender's process less that at its start, as its parent saw it twenty times a
second: the mapped file does not count, a copy of it does. Needs Linux.

``grid`` takes some steps of all 52 probes on rows drawn from the whole file, and says what a pass over all images would
take. Beside it stand 52 linear layers of torch with a forward, a backward and an optimizer each, which is the published
way, on the same batches; losses after the last step must agree. scikit-learn has nothing that does the same: its
multinomial regression knows no batches, and its SGD trains one against the rest. One head of that kind is measured to
give an idea.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import SGDClassifier
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from benchmarks.evaluation import IMAGENET, MIB, accuracy, resident_bytes
from franca.evaluation import knn, linear
from franca.evaluation.columns import Columns
from franca.evaluation.labels import Labels
from franca.evaluation.probes import Candidate, Trainer, judge
from franca.features.table import FeatureTable

LAYERS = 4  # last blocks whose class embedding the grid reads; the mean patch lies behind them
K, TEMPERATURE, BATCH_SIZE = 20, 0.07, 256
DRAWN_ROWS = 65_536  # at a time
NOISE = 4.0
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Sizes:
    """What is drawn, and where it lies."""

    folder: Path
    bank: int
    queries: int
    width: int  # D
    classes: int
    layers: int  # embeddings of an image
    steps: int = 0

    @property
    def labels(self) -> Labels:
        """Classes of both sets, at random."""
        generator = torch.Generator().manual_seed(0)
        train, val = (torch.randint(self.classes, (n,), generator=generator) for n in (self.bank, self.queries))
        return Labels(train, val, self.classes)

    def features(self, role: str) -> Tensor:
        """[n, layers, D] float16, mapped from its file."""
        number = self.bank if role == "train" else self.queries
        size = number * self.layers * self.width
        mapped = torch.from_file(str(self.folder / role), shared=True, size=size, dtype=torch.float16)
        return mapped.view(number, self.layers, self.width)

    @property
    def table(self) -> FeatureTable:
        """The training images as the linear protocol reads them."""
        features, names = self.features("train"), tuple(map(str, range(self.classes)))
        return FeatureTable(features[:, :-1], features[:, -1], self.labels.train, ("",) * self.bank, names)


@dataclass(frozen=True)
class Outcome:
    """What a contender found, and what it took."""

    values: Sequence[float]
    seconds: float
    cpu_seconds: float
    own_bytes: int = 0


Contender = Callable[[Sizes], Outcome]


def main() -> None:
    """Draw, let each contender run, print a line for each."""
    args = parse()
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}, {args.bank:,} images x {args.width}")
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        layers = 1 if args.task == "knn" else LAYERS + 1
        sizes = Sizes(Path(folder), args.bank, args.queries, args.width, args.classes, layers, args.steps)
        draw(sizes)
        {"knn": compare_neighbours, "grid": compare_probes}[args.task](sizes)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=("knn", "grid"))
    for name in ("bank", "width", "classes"):
        parser.add_argument(f"--{name}", type=int, default=IMAGENET[name])
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--steps", type=int, default=4, help="of the grid, after one that is not counted")
    parser.add_argument("--folder", help="where the drawn features lie: 3 GB for knn, 13 GB for grid")
    return parser.parse_args()


def draw(sizes: Sizes) -> None:
    """Writes features of overlapping Gaussian classes, a block at a time."""
    generator = torch.Generator().manual_seed(1)
    centres = torch.randn(sizes.classes, 1, sizes.width, generator=generator)
    for role, labels in (("train", sizes.labels.train), ("val", sizes.labels.val)):
        features = sizes.features(role)
        for rows in torch.arange(len(labels)).split(DRAWN_ROWS // sizes.layers):
            noise = torch.randn(len(rows), sizes.layers, sizes.width, generator=generator)
            features[rows] = noise.mul_(NOISE).add_(centres[labels[rows]]).half()


def compare_neighbours(sizes: Sizes) -> None:
    """The vote of 20 neighbours: the same exact search by three libraries."""
    contenders: dict[str, Contender] = {"franca": knn_by_franca}
    if importlib.util.find_spec("faiss"):
        contenders["faiss IndexFlatIP, fp32"] = knn_by_faiss
    contenders["scikit-learn brute, cosine"] = knn_by_sklearn
    for name, contender in contenders.items():
        outcome = in_a_process_of_its_own(contender, sizes)
        print(f"{name:28} {line_of(outcome)}  top-1 {100 * outcome.values[0]:.2f}", flush=True)


def knn_by_franca(sizes: Sizes) -> Outcome:
    """Reads the bank in blocks, as it lies on disk."""
    bank, queries, labels = sizes.features("train")[:, 0], sizes.features("val")[:, 0], sizes.labels
    return timed(lambda: [knn.accuracies(bank, queries, labels, [K], TEMPERATURE)[K, 1]])


def knn_by_faiss(sizes: Sizes) -> Outcome:
    """An index of unit vectors, which is given the bank a block at a time."""
    import faiss  # type: ignore[import-not-found, unused-ignore]

    bank, queries, labels = sizes.features("train")[:, 0], sizes.features("val")[:, 0], sizes.labels

    def search() -> list[float]:
        index = faiss.IndexFlatIP(sizes.width)
        for block in bank.split(DRAWN_ROWS):
            index.add(normalize(block.float()).numpy())
        similarity, rows = index.search(normalize(queries.float()).numpy(), K)
        nearest = labels.train[torch.from_numpy(rows)]
        votes = knn.vote(torch.from_numpy(similarity), nearest, labels.num_classes, TEMPERATURE)
        return [accuracy(votes, labels.val)]

    return timed(search)


def knn_by_sklearn(sizes: Sizes) -> Outcome:
    """It computes in fp32 or fp64 alone, so the bank is converted as a whole."""
    bank, queries, labels = sizes.features("train")[:, 0], sizes.features("val")[:, 0], sizes.labels

    def search() -> list[float]:
        model = KNeighborsClassifier(
            K, metric="cosine", algorithm="brute", weights=lambda d: np.exp((1 - d) / TEMPERATURE), n_jobs=1
        )
        model.fit(bank.float().numpy(), labels.train.numpy())
        return [float(model.score(queries.float().numpy(), labels.val.numpy()))]

    return timed(search)


def compare_probes(sizes: Sizes) -> None:
    """Some steps of the grid: ours, 52 heads apart, and what scikit-learn has instead."""
    per_pass = math.ceil(sizes.bank / BATCH_SIZE)
    contenders = {
        "franca, 52 probes": grid_by_franca,
        "torch, 52 heads apart": grid_by_heads,
        "scikit-learn, 1 head, one against the rest": head_by_sklearn,
    }
    losses = []
    for name, contender in contenders.items():
        outcome = in_a_process_of_its_own(contender, sizes)
        step = outcome.cpu_seconds / sizes.steps
        print(
            f"{name:42} {line_of(outcome)}  {step:7.3f} CPU s a step, {step * per_pass / 3600:.2f} h a pass", flush=True
        )
        losses.append(torch.tensor(outcome.values))
    ours, apart = losses[:2]
    difference = float(((ours - apart).abs() / apart).max())
    print(f"losses after {sizes.steps} steps, {ours.min():.3f} to {ours.max():.3f}, differ by {difference:.1e} at most")


def batches(sizes: Sizes) -> list[tuple[Tensor, Tensor]]:
    """Rows of every step, the first of which is not counted, and their classes."""
    labels = sizes.labels.train
    rows = torch.randperm(sizes.bank, generator=torch.Generator().manual_seed(2))[: (sizes.steps + 1) * BATCH_SIZE]
    return [(some, labels[some]) for some in rows.split(BATCH_SIZE)]


def candidates_and_columns(sizes: Sizes) -> tuple[list[Candidate], Columns]:
    """The grid, and columns standardised as the first images tell: all of them would tell the same."""
    table = sizes.table
    some = replace(table, cls=table.cls[:DRAWN_ROWS], patch_mean=table.patch_mean[:DRAWN_ROWS])  # type: ignore[index]
    return linear.grid(table, linear.LinearSettings()), Columns.of(some, CPU)


def grid_by_franca(sizes: Sizes) -> Outcome:
    """Steps as `franca.evaluation.linear` takes them, with the reading of features."""
    table, data, (candidates, columns) = sizes.table, batches(sizes), candidates_and_columns(sizes)
    trainer = Trainer(candidates, num_classes=sizes.classes, num_steps=len(data), device=CPU)

    def step(rows: Tensor, labels: Tensor) -> None:
        trainer.step(columns.rows(table, rows), labels)

    outcome = timed_steps(step, data)
    scores = judge(trainer.groups, [(columns.rows(table, data[-1][0]), data[-1][1])])
    return replace(outcome, values=[scores[candidate].loss for candidate in candidates])


def grid_by_heads(sizes: Sizes) -> Outcome:
    """One linear layer, one loss, one backward and one optimizer for each of the 52."""
    table, data, (candidates, columns) = sizes.table, batches(sizes), candidates_and_columns(sizes)
    heads = [nn.Linear(candidate.stop - candidate.start, sizes.classes) for candidate in candidates]
    for parameter in (parameter for head in heads for parameter in head.parameters()):
        nn.init.zeros_(parameter)
    optimizers = [
        torch.optim.SGD(head.parameters(), candidate.learning_rate, momentum=0.9)
        for head, candidate in zip(heads, candidates, strict=True)
    ]
    schedules = [torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, len(data)) for optimizer in optimizers]

    def step(rows: Tensor, labels: Tensor) -> None:
        features = columns.rows(table, rows)
        for head, candidate, optimizer, schedule in zip(heads, candidates, optimizers, schedules, strict=True):
            optimizer.zero_grad()
            cross_entropy(head(features[:, candidate.start : candidate.stop]), labels).backward()
            optimizer.step()
            schedule.step()

    outcome = timed_steps(step, data)
    features, labels = columns.rows(table, data[-1][0]), data[-1][1]
    with torch.no_grad():
        losses = [
            float(cross_entropy(head(features[:, candidate.start : candidate.stop]), labels))
            for head, candidate in zip(heads, candidates, strict=True)
        ]
    return replace(outcome, values=losses)


def head_by_sklearn(sizes: Sizes) -> Outcome:
    """As many images through one head on the last class embedding: a thousand binary problems, image by image."""
    table, data, (_, columns) = sizes.table, batches(sizes), candidates_and_columns(sizes)
    last = slice((LAYERS - 1) * sizes.width, LAYERS * sizes.width)
    model = SGDClassifier("log_loss", alpha=1e-9, learning_rate="constant", eta0=0.01, n_jobs=1)

    def step(rows: Tensor, labels: Tensor) -> None:
        model.partial_fit(columns.rows(table, rows)[:, last].numpy(), labels.numpy(), classes=np.arange(sizes.classes))

    return timed_steps(step, data)


def timed(call: Callable[[], Sequence[float]]) -> Outcome:
    """What a call returns, and its seconds."""
    started, processor = time.perf_counter(), time.process_time()
    values = call()
    return Outcome(values, time.perf_counter() - started, time.process_time() - processor)


def timed_steps(step: Callable[[Tensor, Tensor], None], data: Sequence[tuple[Tensor, Tensor]]) -> Outcome:
    """The seconds of all steps but the first, which finds memory that is not there yet."""
    step(*data[0])

    def others() -> list[float]:
        for batch in data[1:]:
            step(*batch)
        return []

    return timed(others)


def in_a_process_of_its_own(contender: Contender, sizes: Sizes) -> Outcome:
    """The outcome, with the peak of anonymous memory."""
    context = get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_contend, args=(contender, sizes, sender))
    process.start()
    sender.close()  # else the end of the process would not be noticed
    before = receiver.recv()
    peak = before
    while not receiver.poll(0.05):
        peak = max(peak, resident_bytes("RssAnon", process.pid))
    outcome: Outcome = receiver.recv()
    process.join()
    return replace(outcome, own_bytes=peak - before)


def _contend(contender: Contender, sizes: Sizes, sender: Connection) -> None:
    sender.send(resident_bytes("RssAnon", os.getpid()))
    sender.send(contender(sizes))


def line_of(outcome: Outcome) -> str:
    """Seconds and memory."""
    return f"{outcome.seconds:8.2f} s ({outcome.cpu_seconds:8.2f} CPU)  own {outcome.own_bytes / MIB:8,.0f} MiB"


if __name__ == "__main__":
    main()
