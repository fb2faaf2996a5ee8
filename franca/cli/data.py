"""``franca data``: look at images before a run reads them, and bring them into shape."""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from PIL import Image

from franca.cli.data_options import (
    CheckOptions,
    PackOptions,
    PreviewOptions,
    WorkerOptions,
    one_source,
    open_for,
    read,
    source_and_output,
    split,
)
from franca.cli.output import check_writable
from franca.config.recipes import load_recipe
from franca.config.schema import Config
from franca.data.cache_folder import write_atomically
from franca.data.check import check_source
from franca.data.collate import PretrainingData
from franca.data.index_all import IndexedShard, index_all
from franca.data.pack import Recoding, pack
from franca.data.passed_over import in_words, total
from franca.data.preview import contact_sheet
from franca.data.sample import Source
from franca.data.shards import shard_list
from franca.data.sources import describe, open_training_source
from franca.data.waiting import waiting_line
from franca.data.webdataset import EXTRAS
from franca.distributed.cores import usable_cores
from franca.errors import ConfigError, TooManyBadSamples

_ITEMS_PER_WORKER = 16
USAGE = """\
franca data check SRC [key=value …]             read every image: counts, sizes, speed, what is bad, what comes twice
franca data index SRC [key=value …]             note where the samples of every tar lie, ahead of a run
franca data pack SRC OUT_FOLDER [key=value …]   write tar shards: shuffled, checked, resized if asked for
franca data preview SRC OUT.png [key=value …]   draw the crops and masks that the model sees

SRC is what data.train takes: a folder, tars (path, glob, {a..b} brace, list, @file), an address, module:callable or
synthetic. Folders that are missing in OUT_FOLDER, OUT.png or out= are made.

check    sample=N looks at N images only; out=FILE.json keeps what was found; workers=N
         The exit code is 1 where an image cannot be used, a tar is damaged, or a key comes twice in a tar.
index    workers=N
pack     max_bytes=1000000000 and max_images=10000 of a shard; seed=0 of the order; workers=N
         resize_px=N brings larger images to a shorter side of N px, as JPEG of quality=95
         labels=true demands labels, labels=false drops them; else they are kept where every image has one and SRC
         lies on this machine
preview  recipe=vits14; num_images=8; options of the recipe, such as data.num_local_crops=4

check and pack also take kind=…, where SRC is not recognised, and synthetic.num_images=… and the like."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``franca data``."""
    parser.usage, parser.description = "franca data ACTION SRC …", USAGE
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("action", choices=tuple(_ACTIONS), help="what to do")
    parser.add_argument("words", nargs="*", metavar="WORD", help="what the action takes")


def run(args: argparse.Namespace) -> int:
    """Do the action; the exit code is 1 where it found something wrong."""
    paths, options = split(args.words)
    return _ACTIONS[args.action](paths, options)


def _check(paths: Sequence[str], words: Sequence[str]) -> int:
    location, options = one_source(paths, "check SRC"), read(words, CheckOptions, "check")
    out = Path(os.path.expanduser(options.out)) if options.out else None
    if out is not None:
        check_writable(out, "out")
    # Labels of tars are found by looking into all of them, which a sample is meant to avoid.
    source = open_for(location, options, labels=None if options.sample is None else False)
    _show_source(source)
    num_images = min(options.sample or len(source), len(source))
    with waiting_line(f"reading {num_images:,} images", num_images) as progress:
        workers = _workers(options, num_images)
        found = check_source(source, sample=options.sample, workers=workers, progress=progress)
    for name, text in found.lines():
        _show(name, text)
    _show("workers", _advice(source))
    if out is not None:
        write_atomically(out, [json.dumps(found.to_dict(), indent=2).encode()])
        _show("wrote", str(out))
    return 0 if found.is_clean else 1


def _index(paths: Sequence[str], words: Sequence[str]) -> int:
    location, options = one_source(paths, "index SRC"), read(words, WorkerOptions, "index")
    shards = shard_list(location)
    tars = [shard for shard in shards if isinstance(shard, Path)]
    started = time.perf_counter()
    with waiting_line(f"indexing {len(tars):,} tars", len(tars)) as progress:
        found = index_all(tars, workers=_workers(options, len(tars)), progress=progress)
    _show_indexes(found, time.perf_counter() - started)
    if len(tars) < len(shards):
        _show("elsewhere", f"{len(shards) - len(tars):,} shards, which are indexed when they are fetched")
    return 1 if any(shard.problem for shard in found) else 0


def _pack(paths: Sequence[str], words: Sequence[str]) -> int:
    (location, out), options = source_and_output(paths, "pack SRC OUT_FOLDER"), read(words, PackOptions, "pack")
    source = open_for(location, options, labels=options.labels, extras=EXTRAS)
    _show_source(source)
    with waiting_line(f"packing {len(source):,} images", len(source)) as progress:
        packed = pack(
            source,
            out,
            recoding=Recoding(options.resize_px, options.quality),
            max_bytes=options.max_bytes,
            max_images=options.max_images,
            seed=options.seed,
            workers=_workers(options, len(source)),
            progress=progress,
        )
    _show("packed", f"{packed.num_images:,} images, {packed.num_bytes:,} bytes")
    _show("shards", f"{packed.num_shards:,}, in {out}")
    for reason, bad in packed.bad.items():
        _show("left out", f"{bad.count:,} {reason}: {bad}")
    return 0


def _preview(paths: Sequence[str], words: Sequence[str]) -> int:
    location, out = source_and_output(paths, "preview SRC OUT.png")
    options = read([word for word in words if "." not in word.partition("=")[0]], PreviewOptions, "preview")
    config = load_recipe(options.recipe, [word for word in words if "." in word.partition("=")[0]], need_data=False)
    if out.suffix.lower() not in Image.registered_extensions():
        raise ConfigError(f"OUT={out}: expected the name of a picture, such as {out.stem}.png")
    check_writable(out, "OUT")
    source = open_training_source(replace(config.data, train=location), config.performance)
    _show_source(source)
    batch = _data(source, config, num_images=options.num_images)[0]
    originals = [source.read(sample) for sample in batch.samples.tolist()]
    sheet = contact_sheet([made.image for made in originals], batch, mean=config.data.mean, std=config.data.std)
    sheet.save(out)
    for position, made in enumerate(originals):
        _show(f"row {position + 1}", made.key)
    _show("wrote", f"{out}: the first {len(originals)} images of a run with recipe {options.recipe}")
    return 0


def _data(source: Source, config: Config, *, num_images: int) -> PretrainingData:
    """The data of a run, so many images at a time; masks depend on the global batch, which stays as it is."""
    return PretrainingData.from_config(
        source, replace(config, performance=replace(config.performance, micro_batch=num_images))
    )


def _advice(source: Source) -> str:
    """How fast a worker makes the usual crops of these images, and what that means for ``performance.workers``."""
    from franca.train.cores import default_workers

    config, num_images = Config(), 16
    data, crops, workers = _data(source, config, num_images=num_images), config.data, default_workers()
    try:
        data[0]  # the first one is slower
        started = time.perf_counter()
        data[1]
    except TooManyBadSamples:
        return "too many bad images to say how fast crops are made"
    rate = num_images / (time.perf_counter() - started)
    sizes = f"2 x {crops.global_size_px} and {crops.num_local_crops} x {crops.local_size_px} px"
    return (
        f"one makes the usual crops, {sizes}, of {rate:,.0f} images/s; performance.workers={workers} suits this "
        f"machine, for about {workers * rate:,.0f}"
    )


def _workers(options: WorkerOptions, num_items: int) -> int:
    """Processes; unless told, one for each core, but none for a handful of items, where starting one takes longer."""
    return min(usable_cores(), num_items // _ITEMS_PER_WORKER) if options.workers is None else options.workers


def _show_indexes(found: Sequence[IndexedShard], seconds: float) -> None:
    num_made = sum(shard.index is not None and not shard.was_kept for shard in found)
    _show("shards", f"{len(found):,}, {sum(shard.num_bytes for shard in found):,} bytes")
    _show("samples", f"{sum(shard.num_samples for shard in found):,}")
    _show("indexes", f"{num_made:,} made, {sum(shard.was_kept for shard in found):,} were up to date, {seconds:.1f} s")
    if passed_over := total(shard.passed_over for shard in found):
        _show("other files", f"passed over: {in_words(passed_over)}")
    for folder in sorted({shard.index.parent for shard in found if shard.index is not None}):
        _show("lie in", str(folder))
    for shard in found:
        if shard.problem:
            _show("damaged", f"{shard.path}: {shard.problem}")


def _show_source(source: Source) -> None:
    _show("source", f"{source.location}: {describe(source)}")


def _show(name: str, text: str) -> None:
    print(f"{name:<16}{text}")


_ACTIONS: dict[str, Callable[[Sequence[str], Sequence[str]], int]] = {
    "check": _check,
    "index": _index,
    "pack": _pack,
    "preview": _preview,
}
