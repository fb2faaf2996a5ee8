"""Time and memory of k-NN, of the grid of linear probes and of logistic regression, beside scikit-learn and faiss.

    python -m benchmarks.evaluation --bank 50000 --queries 1000 --width 256
    python -m benchmarks.evaluation --imagenet --device cuda --only knn,linear --ours-only
    python -m benchmarks.evaluation --only extraction --images SRC --model franca_vits14

``extraction`` compares reading images, running a model on them and keeping the features with the model alone, on as
many bytes that lie in memory: the share is what extraction leaves of the model's own speed.

Features are drawn: overlapping Gaussian classes, so that there is something to learn. All that is compared runs in one
process, one after the other, on the same numbers; ratios are what to look at. Where this project answers on a GPU the
others still run on the CPU. "grew" is the process's most memory during a call less that before it; needs Linux.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor
from torch.nn.functional import normalize

from franca.data.sources import open_source
from franca.data.subset import Subset
from franca.distributed.device import resolve_device
from franca.evaluation import knn, linear, logistic
from franca.evaluation.labels import Labels
from franca.features.backbone import open_backbone
from franca.features.extract import extract
from franca.features.job import Job
from franca.features.model import FeatureModel
from franca.features.settings import FeatureSettings
from franca.features.table import CLASS_EMBEDDING, FeatureTable

MIB = 2**20
IMAGENET = {"bank": 1_281_167, "queries": 50_000, "width": 1024, "classes": 1000}
TASKS = ("knn", "linear", "logreg")
EXTRACTION = "extraction"


@dataclass(frozen=True)
class Data:
    """Two drawn sets of features."""

    train: FeatureTable
    val: FeatureTable
    device: torch.device

    @property
    def labels(self) -> Labels:
        """Classes of both."""
        assert self.train.labels is not None and self.val.labels is not None and self.train.class_names is not None
        return Labels(self.train.labels, self.val.labels, len(self.train.class_names))


def main() -> None:
    """Measure what was asked for; print a line for each, with the ratio to the first of its task."""
    args = parse()
    device = resolve_device(args.device)
    print(f"{device}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    clock = "cpu_seconds" if args.cpu_seconds else "seconds"
    results = []
    for task in args.only.split(","):
        if task == EXTRACTION:
            results += extraction(args, device)
            continue
        data = draw(args, device, layers=4 if task == "linear" else 1)
        first = None
        for name, call in contestants(task, data, args).items():
            results.append({"task": task, "name": name, **measure(call, device)})
            first = first or results[-1][clock]
            print_row(results[-1], results[-1][clock] / first)
    if args.json:
        args.json.write_text(json.dumps({"device": str(device), "results": results}, indent=2) + "\n")


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bank", type=int, default=20_000, help="training images")
    parser.add_argument("--queries", type=int, default=1000, help="validation images")
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--imagenet", action="store_true", help="its numbers of images and classes, width 1024")
    parser.add_argument("--only", default=",".join(TASKS), help="of knn, linear, logreg, extraction")
    parser.add_argument("--images", default="synthetic", help="what extraction reads")
    parser.add_argument("--model", default="franca_vits14", help="of extraction, with random weights")
    parser.add_argument("--num-images", type=int, default=256, help="of extraction")
    parser.add_argument("--workers", type=int, help="that read images for extraction; as franca eval would unless told")
    parser.add_argument("--batch-size", type=int, default=FeatureSettings().batch_size, help="of extraction")
    parser.add_argument("--ours-only", action="store_true", help="leave out the others, which take long")
    parser.add_argument("--k", type=int, default=20)
    parser.add_argument("--memory-mib", type=int, default=knn.MEMORY_MIB)
    parser.add_argument("--epochs", type=int, default=1, help="of the probes")
    parser.add_argument("--dtype", choices=("fp32", "fp16"), default="fp32", help="of the features as stored")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--cpu-seconds", action="store_true", help="ratios of these, where others share the CPU")
    parser.add_argument("--json", type=Path, help="write the results here")
    args = parser.parse_args()
    if args.imagenet:
        vars(args).update(IMAGENET)
    return args


def draw(args: argparse.Namespace, device: torch.device, *, layers: int) -> Data:
    """Features of as many classes around the same centres, so large a step at a time that memory allows it."""
    dtype = torch.float16 if args.dtype == "fp16" else torch.float32
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(args.classes, args.width, generator=generator)

    def table(number: int) -> FeatureTable:
        labels = torch.randint(args.classes, (number,), generator=generator)
        cls = torch.empty(number, layers, args.width, dtype=dtype)
        for rows in torch.arange(number).split(65_536):
            noise = torch.randn(len(rows), layers, args.width, generator=generator)
            cls[rows] = (centres[labels[rows], None] + 4 * noise).to(dtype)
        mean = cls[:, -1].roll(1, 1) if layers > 1 else None
        return FeatureTable(cls, mean, labels, ("image",) * number, tuple(map(str, range(args.classes))))

    return Data(table(args.bank), table(args.queries), device)


def contestants(task: str, data: Data, args: argparse.Namespace) -> dict[str, Callable[[], float]]:
    """Who does the same work; each returns its accuracy. This project is the first."""
    found = {"knn": neighbours, "linear": probes, "logreg": regressions}[task](data, args)
    if not args.ours_only:
        return found
    return dict(list(found.items())[:1])


def extraction(args: argparse.Namespace, device: torch.device) -> list[dict[str, Any]]:
    """Extraction beside the model alone; after a first batch of each, which neither is charged for."""
    settings = FeatureSettings(cache=False, workers=args.workers, batch_size=args.batch_size, device=str(device))
    backbone = open_backbone(args.model, pretrained=False)
    job = Job(
        FeatureModel(backbone).to(device),
        Subset(open_source(args.images), args.num_images),
        CLASS_EMBEDDING,
        settings,
        device,
    )
    count = len(job.source)
    batch = torch.randint(256, (min(args.batch_size, count), 3, *job.size_px), dtype=torch.uint8)

    def alone() -> float:
        for first in range(0, count, len(batch)):
            job.features(batch[: count - first]).cls.cpu()
        return 1.0

    def whole() -> float:
        return len(extract(job)) / count

    job.features(batch).cls.cpu()
    found = []
    for name, call in ((f"{args.model} alone", alone), ("extraction", whole)):
        found.append({"task": EXTRACTION, "name": name, **measure(call, device)})
        print_row(found[-1], found[-1]["seconds"] / found[0]["seconds"])
    shares = [found[0][clock] / found[1][clock] for clock in ("seconds", "cpu_seconds")]
    print(f"{count} images, {job.precision}, share {shares[0]:.1%} of the time, {shares[1]:.1%} of the CPU time")
    return found


def neighbours(data: Data, args: argparse.Namespace) -> dict[str, Callable[[], float]]:
    """The weighted vote of k neighbours."""
    bank, queries = data.train.embedding, data.val.embedding

    def ours() -> float:
        found = knn.accuracies(
            bank, queries, data.labels, [args.k], 0.07, memory_mib=args.memory_mib, device=data.device
        )
        return found[args.k, 1]

    def sklearn() -> float:
        model = KNeighborsClassifier(
            args.k, metric="cosine", algorithm="brute", weights=lambda d: np.exp((1 - d) / 0.07), n_jobs=1
        )
        return float(model.fit(bank.float(), data.labels.train).score(queries.float(), data.labels.val))

    def faiss() -> float:
        import faiss as library  # type: ignore[import-not-found, unused-ignore]

        index = library.IndexFlatIP(bank.shape[1])
        index.add(normalize(bank.float()).numpy())
        similarity, rows = index.search(normalize(queries.float()).numpy(), args.k)
        neighbour_labels = data.labels.train[torch.from_numpy(rows)]
        votes = knn.vote(torch.from_numpy(similarity), neighbour_labels, data.labels.num_classes, 0.07)
        return accuracy(votes, data.labels.val)

    others = {"scikit-learn": sklearn} | ({"faiss": faiss} if importlib.util.find_spec("faiss") else {})
    return {"franca": ours, **others}


def probes(data: Data, args: argparse.Namespace) -> dict[str, Callable[[], float]]:
    """The grid of 52 probes for some epochs; scikit-learn's SGD for one probe of them, as often."""
    settings = linear.LinearSettings(epochs=args.epochs, selection="val")

    def ours() -> float:
        return linear.run(data.train, data.val, settings, data.device).metrics["top1"]

    def one() -> float:
        single = replace(settings, learning_rates=[0.01], num_blocks=[1], patch_mean=[False])
        return linear.run(data.train, data.val, single, data.device).metrics["top1"]

    def sklearn() -> float:
        model = SGDClassifier("log_loss", alpha=1e-9, learning_rate="constant", eta0=0.01, max_iter=args.epochs)
        model.set_params(tol=None, n_jobs=1)
        model.fit(data.train.embedding.float(), data.labels.train)
        return float(model.score(data.val.embedding.float(), data.labels.val))

    return {"franca, 52 probes": ours, "franca, 1 probe": one, "scikit-learn, 1 probe": sklearn}


def regressions(data: Data, args: argparse.Namespace) -> dict[str, Callable[[], float]]:
    """Logistic regression for 9 values of C together; scikit-learn takes them one after the other."""
    all_c = [float(c) for c in 10 ** torch.linspace(-6, 2, 9, dtype=torch.float64)]

    def ours() -> float:
        features, queries = (table.embedding.float().to(data.device) for table in (data.train, data.val))
        labels = data.labels.train.to(data.device)
        fitted = logistic.fit(features, labels, all_c, num_classes=data.labels.num_classes)
        return max(accuracy(scores.cpu(), data.labels.val) for scores in fitted.logits(queries))

    def sklearn() -> float:
        return max(
            float(
                LogisticRegression(C=c, max_iter=1000)
                .fit(data.train.embedding.float(), data.labels.train)
                .score(data.val.embedding.float(), data.labels.val)
            )
            for c in all_c
        )

    return {"franca, 9 values of C": ours, "scikit-learn, 9 values of C": sklearn}


def accuracy(scores: Tensor, labels: Tensor) -> float:
    """Share of rows [m, C] whose highest score is their class."""
    return float((scores.argmax(1) == labels).float().mean())


def measure(call: Callable[[], float], device: torch.device) -> dict[str, Any]:
    """Seconds, growth of memory in bytes, and the accuracy that shows that the same was done."""
    Path("/proc/self/clear_refs").write_text("5")  # starts the high-water mark anew
    before = resident_bytes("VmRSS")
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        held = torch.cuda.memory_allocated(device)
    started, processor = time.perf_counter(), time.process_time()
    top1 = call()
    seconds, processor = time.perf_counter() - started, time.process_time() - processor
    grown = resident_bytes("VmHWM") - before
    on_device = torch.cuda.max_memory_allocated(device) - held if device.type == "cuda" else None
    return {
        "seconds": seconds,
        "cpu_seconds": processor,
        "grown_bytes": grown,
        "device_bytes": on_device,
        "top1": top1,
    }


def resident_bytes(name: str, process: int | None = None) -> int:
    """Of a process, this one unless told: ``VmRSS``, its memory, ``VmHWM``, the most it had, ``RssAnon``, its own."""
    found = re.search(rf"{name}:\s+(\d+) kB", Path(f"/proc/{process or 'self'}/status").read_text())
    assert found is not None, "the kernel states it"
    return 1024 * int(found[1])


def print_row(result: dict[str, Any], ratio: float) -> None:
    """A line of the table."""
    on_device = "" if result["device_bytes"] is None else f"  device {result['device_bytes'] / MIB:8,.0f} MiB"
    print(
        f"{result['task']:7} {result['name']:28} {result['seconds']:9.2f} s ({result['cpu_seconds']:9.2f} CPU)"
        f"  x {ratio:6.2f}  grew {result['grown_bytes'] / MIB:8,.0f} MiB{on_device}"
        f"  top-1 {100 * result['top1']:.2f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
