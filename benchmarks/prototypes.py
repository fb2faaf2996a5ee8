"""Time and memory of prototype losses, by backend, over rows x prototypes, beside what the operations alone would take.

    python -m benchmarks.prototypes --rows 512,2048 --prototypes 4096,16384 --plot prototypes.png
    python -m benchmarks.prototypes --paper --backends chunked --repeats 1

A point is one level of one loss on one rank: Sinkhorn-Knopp (three rounds) over the teacher's rows, then the student's
loss and both gradients. Backends take turns in one run; times are medians after one try that warms up. Memory is the
peak of torch's allocator above what was there before, less the gradient of the prototypes. The floor is the number of
operations of all products, each done once and the teacher's in fp32, over the rate of matrix products measured at the
start; "own" counts those products that the backend does again.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.memory import peak_bytes
from franca.distributed.device import DTYPES, resolve_device, resolve_precision
from franca.objective.backends import MIB, Backend, choose_backend
from franca.objective.chunked import Chunked
from franca.objective.logits import Logits
from franca.objective.probe import Task
from franca.objective.targets import Pairs, Targets

ROUNDS = 3
LEVELS = (131_072, 65_536, 32_768, 16_384, 8192)
MASKED = round(2 * 256 * 0.5 * 0.375)  # patches of an image that iBOT sees at 224 px


@dataclass(frozen=True)
class Point:
    """One level of one loss."""

    loss: str  # dino or ibot
    num_rows: int  # of the student
    num_teacher_rows: int
    num_prototypes: int
    width: int

    @property
    def dense_bytes(self) -> int:
        """Three matrices of logits."""
        return 12 * self.num_rows * self.num_prototypes


def paper_points(images: int) -> list[Point]:
    """All levels of both losses as a rank with so many images sees them."""
    dino = [Point("dino", 10 * images, 2 * images, level, 384) for level in LEVELS]
    return [*dino, *(Point("ibot", MASKED * images, MASKED * images, level, 256) for level in LEVELS)]


def main() -> None:
    """Measure every point with every backend; print a table, write what was asked for."""
    args = parse()
    device = resolve_device(args.device)
    precision = resolve_precision(args.precision, device)
    points = paper_points(args.images) if args.paper else grid(args)
    clock = time.process_time if args.cpu_seconds else time.perf_counter
    rates = {name: matrix_rate(DTYPES[name], device, clock) for name in {"fp32", precision}}
    print(f"{device}, {precision}, {torch.get_num_threads()} threads, products:", end=" ")
    print(", ".join(f"{name} {rate / 1e9:,.0f} Gflop/s" for name, rate in rates.items()))
    results = []
    for point in points:
        for name in args.backends.split(","):
            if name == "dense" and point.dense_bytes > args.most_dense_gib * 2**30:
                continue
            results.append(measure(point, name, args, device, precision, rates))
            print_row(results[-1])
    facts = {"device": str(device), "precision": precision, "torch": torch.__version__, "rates": rates}
    if device.type == "cuda":
        facts["device"] = torch.cuda.get_device_name(device)
    if args.json:
        args.json.write_text(json.dumps({**facts, "results": results}, indent=2) + "\n")
    if args.plot:
        plot(results, args.plot)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default="256,1024,4096", help="rows, as many of the teacher as of the student")
    parser.add_argument("--prototypes", default="4096,16384")
    parser.add_argument("--width", type=int, default=256, help="of the bottleneck")
    parser.add_argument("--paper", action="store_true", help="the paper's levels instead, DINO and iBOT")
    parser.add_argument("--images", type=int, default=64, help="images of a rank, with --paper")
    parser.add_argument("--backends", default="dense,chunked", help="of dense, chunked, triton")
    parser.add_argument("--chunk-mib", type=int, help="default: that of training")
    parser.add_argument("--compile", action="store_true", help="compile what the chunked forms do to a tile")
    parser.add_argument("--most-dense-gib", type=float, default=4.0, help="leave dense out where logits take more")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--cpu-seconds", action="store_true", help="of this process, where others share the CPU")
    parser.add_argument("--json", type=Path, help="write the results here")
    parser.add_argument("--plot", type=Path, help="draw them here, a PNG")
    return parser.parse_args()


def grid(args: argparse.Namespace) -> list[Point]:
    """Every number of rows with every number of prototypes."""
    rows, prototypes = ([int(number) for number in text.split(",")] for text in (args.rows, args.prototypes))
    return [Point("ibot", r, r, k, args.width) for k in prototypes for r in rows]


def measure(
    point: Point, name: str, args: argparse.Namespace, device: torch.device, precision: str, rates: dict[str, float]
) -> dict[str, Any]:
    """Seconds and bytes of a backend at a point, and the floors."""
    task = Task(point.num_teacher_rows, point.num_prototypes, point.width, None)
    options = {"chunk_mib": args.chunk_mib, "compile": args.compile}
    backend = choose_backend(name, device=device, dense_bytes=0, task=task, **options).backend
    assign, learn = both_halves(point, backend, device, precision)
    assign()  # the first targets, and what has to be compiled
    learn()
    weight_bytes = 4 * point.num_prototypes * point.width
    clock = time.process_time if args.cpu_seconds else time.perf_counter
    low, full = rates[precision], rates["fp32"]
    floor = operations(point, again=1)
    own = operations(point, again=rounds_of_products(point, backend)) if isinstance(backend, Chunked) else floor
    return {
        **asdict(point),
        "backend": name,
        "assign_seconds": median_seconds(assign, args.repeats, device, clock),
        "loss_seconds": median_seconds(learn, args.repeats, device, clock),
        "assign_bytes": peak_bytes(assign, device),
        "loss_bytes": peak_bytes(learn, device) - weight_bytes,
        "logits_bytes": 4 * point.num_rows * point.num_prototypes,
        "floor_seconds": floor[0] / full + floor[1] / low,
        "own_floor_seconds": own[0] / full + own[1] / low,
    }


def both_halves(
    point: Point, backend: Backend, device: torch.device, precision: str
) -> tuple[Callable[[], None], Callable[[], None]]:
    """The teacher's assignment, and the student's loss with its gradients, on random numbers."""
    generator = torch.Generator().manual_seed(0)

    def draw(rows: int) -> Tensor:
        return F.normalize(torch.randn(rows, point.width, generator=generator), dim=1).to(device)

    teacher_rows, teacher_weight = draw(point.num_teacher_rows), draw(point.num_prototypes)
    rows, weight = draw(point.num_rows).requires_grad_(), draw(point.num_prototypes).requires_grad_()
    pairs = pairs_of(point, device)
    found: list[Targets] = []
    autocast = torch.autocast(device.type, dtype=DTYPES[precision], enabled=precision != "fp32")

    def assign() -> None:
        with autocast:
            found[:] = [backend.assign(teacher_rows, teacher_weight, temperature=0.04, num_iterations=ROUNDS)]

    def learn() -> None:
        rows.grad = weight.grad = None
        with autocast:
            loss = backend.cross_entropy(rows, weight, found[0], pairs, temperature=0.1)
        loss.backward()

    return assign, learn


def pairs_of(point: Point, device: torch.device) -> Pairs:
    """Row meets row, or, for DINO, each crop the two global ones but itself."""
    row = torch.arange(point.num_rows, device=device)
    if point.loss == "ibot":
        return Pairs(row, row, torch.full((len(row),), 1 / len(row), device=device))
    images = point.num_teacher_rows // 2
    met = torch.cat([row % images, row % images + images])
    student = torch.cat([row, row])
    other = student != met
    weight = torch.full((int(other.sum()),), 1 / int(other.sum()), device=device)
    return Pairs(student[other], met[other], weight)


def rounds_of_products(point: Point, backend: Chunked) -> int:
    """How often the backend multiplies teacher rows and prototypes in Sinkhorn-Knopp."""
    empty = torch.empty(0)
    one_tile = backend.cut(
        Logits(empty, torch.empty(point.num_prototypes, point.width, device="meta"), 1.0, empty.dtype),
        point.num_teacher_rows,
    )
    fused = backend.name == "triton"
    return 2 * ROUNDS if fused or one_tile.rows < point.num_teacher_rows else ROUNDS


def operations(point: Point, *, again: int) -> tuple[float, float]:
    """Additions and multiplications in fp32 and in the lower precision.

    Once each: the teacher's product for Sinkhorn-Knopp and for the assignments, the student's, and those of its two
    gradients. ``again`` above 1 is the chunked form: so many products in Sinkhorn-Knopp, the student's twice, and both
    gradients for student and teacher rows apart.
    """
    one = 2.0 * point.num_prototypes * point.width
    teacher, student = one * point.num_teacher_rows, one * point.num_rows
    return (2 * teacher, 3 * student) if again == 1 else ((again + 1) * teacher, 4 * student + 2 * teacher)


def matrix_rate(dtype: torch.dtype, device: torch.device, clock: Callable[[], float]) -> float:
    """Operations a second of a product in the shape of a tile: 4096 rows, 2048 prototypes, width 256."""
    a, b = torch.randn(4096, 256, device=device, dtype=dtype), torch.randn(2048, 256, device=device, dtype=dtype)
    return 2 * 4096 * 2048 * 256 / median_seconds(lambda: F.linear(a, b), 10, device, clock)


def median_seconds(call: Callable[[], object], repeats: int, device: torch.device, clock: Callable[[], float]) -> float:
    """Median time of a call, the device waited for."""
    times = []
    for _ in range(repeats):
        started = clock()
        call()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(clock() - started)
    return statistics.median(times)


def print_row(result: dict[str, Any]) -> None:
    """A line of the table."""
    r = result
    print(
        f"{r['loss']} {r['num_rows']:>7,} x {r['num_prototypes']:>7,}  {r['backend']:8}"
        f" assign {r['assign_seconds']:8.4f} s {r['assign_bytes'] / MIB:8,.0f} MiB"
        f"  loss {r['loss_seconds']:8.4f} s {r['loss_bytes'] / MIB:8,.0f} MiB"
        f"  floor {r['floor_seconds']:8.4f} s, own {r['own_floor_seconds']:8.4f} s",
        flush=True,
    )


def plot(results: list[dict[str, Any]], path: Path) -> None:
    """Time and memory over the number of logits, a line a backend, on logarithmic axes."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for name in dict.fromkeys(result["backend"] for result in results):
        mine = sorted((r for r in results if r["backend"] == name), key=size)
        sizes = [size(r) for r in mine]
        left.plot(sizes, [r["assign_seconds"] + r["loss_seconds"] for r in mine], "o-", label=name)
        right.plot(sizes, [max(r["assign_bytes"], r["loss_bytes"]) / MIB for r in mine], "o-", label=name)
    floors = {size(r): r["floor_seconds"] for r in results}
    left.plot(sorted(floors), [floors[n] for n in sorted(floors)], "k--", label="floor: operations / matrix rate")
    left.set(title="time of assignment, loss and gradients", ylabel="seconds")
    right.set(title="peak memory beside parameters and their gradients", ylabel="MiB")
    for axes in (left, right):
        axes.set(xlabel="rows x prototypes", xscale="log", yscale="log")
        axes.legend()
    figure.savefig(path, dpi=120)


def size(result: dict[str, Any]) -> int:
    """Number of logits."""
    return math.prod((result["num_rows"], result["num_prototypes"]))


if __name__ == "__main__":
    main()
