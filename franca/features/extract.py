"""Runs a backbone once over a source and keeps its features, on as many ranks as there are."""

from __future__ import annotations

import platform
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from franca.batch import Skipped
from franca.data.cache_folder import cache_folder
from franca.distributed.in_step import InStep, ShouldStop
from franca.distributed.together import gather, is_rank_zero, on_rank_zero, raise_together, raising_together, share_of
from franca.errors import ConfigError, DataError
from franca.features.cache import FeatureCache
from franca.features.images import ImageBatch, SourceImages, default_workers, start_worker, to_batch
from franca.features.job import Job
from franca.features.model import ImageFeatures
from franca.features.parts import UNLABELLED, Parts, read_features, stack
from franca.features.table import FeatureTable

Progress = Callable[[int, int], None]  # (steps done, steps in all) of this rank, such as images
WHOLE = "features.safetensors"


def extract(job: Job, progress: Progress | None = None, should_stop: ShouldStop | None = None) -> FeatureTable:
    """Features of every readable image of a source, in its order.

    They are kept in the cache where the source can tell whether it has changed, and taken from there the next time. On
    several ranks every rank computes its share, and every rank gets the whole table.

    Args:
        job: Model, source, what is wanted.
        progress: Called after every batch.
        should_stop: Asked between batches; one rank that is to stop breaks off the work of all.

    Raises:
        DataError: No image could be read, or the image size does not fit the backbone.
        BrokenOff: A rank was asked to stop.
    """
    job.prepare()
    key = on_rank_zero(job.key) if job.settings.cache else None
    if key is not None:
        cache = FeatureCache.default(job.settings.cache_gib)
        folder = on_rank_zero(lambda: _made(cache, key))
        table = read_features(compute(job, folder, progress, should_stop=should_stop))
        on_rank_zero(lambda: cache.trim(keep=key))
        return table
    with _temporary_folder() as folder:
        return read_features(compute(job, folder, progress, should_stop=should_stop))  # mapped: the file may go


def compute(
    job: Job,
    folder: Path,
    progress: Progress | None = None,
    whole: Path | None = None,
    should_stop: ShouldStop | None = None,
) -> Path:
    """The file with the features of a job, of which only the parts are computed that its folder lacks.

    Args:
        folder: Keeps the parts on the way.
        whole: Where the file goes; None puts it into the folder.
        should_stop: As for `extract`.
    """
    whole = whole or folder / WHOLE
    if on_rank_zero(whole.exists):
        return whole
    parts, missing = on_rank_zero(lambda: _plan(job, folder))
    with raising_together():
        try:
            _compute_parts(job, parts, share_of(missing), progress, should_stop)
        except OSError as error:
            raise _not_kept(folder, error) from error
    on_rank_zero(lambda: parts.join(whole, _metadata(job)))
    return whole


def _made(cache: FeatureCache, key: str) -> Path:
    try:
        return cache.folder(key)
    except OSError as error:
        raise _not_kept(cache.root, error) from error


def _not_kept(folder: Path, error: OSError) -> DataError:
    return DataError(
        f"features cannot be kept in {folder}: {error}. Point FRANCA_CACHE to a folder with room that all ranks see, "
        "or use cache=false and TMPDIR"
    )


def _plan(job: Job, folder: Path) -> tuple[Parts, list[int]]:
    folder.mkdir(parents=True, exist_ok=True)
    probe = job.probe
    image_bytes = 4 * probe.cls[0].numel()
    if probe.patches is not None and job.wanted.patches:
        image_bytes += 2 * probe.patches[0].numel()
    parts = Parts.of(folder, len(job.source), image_bytes)
    return parts, parts.missing()


def _compute_parts(
    job: Job, parts: Parts, mine: Sequence[int], progress: Progress | None, should_stop: ShouldStop | None
) -> None:
    """Computes and keeps parts, one after the other; the workers read ahead over their borders."""
    size = job.settings.batch_size
    batches = [list(images[at : at + size]) for images in map(parts.images, mine) for at in range(0, len(images), size)]
    num_images = sum(map(len, batches))
    done = 0
    with InStep(should_stop, len(batches)) as in_step:

        def after(batch: ImageBatch) -> None:
            nonlocal done
            done += len(batch.keys) + len(batch.skipped)
            if progress is not None:
                progress(done, num_images)
            in_step.piece_done()

        stream = _read(job, batches, num_images)
        for part in mine:
            num_batches = -(-len(parts.images(part)) // size)
            parts.write(part, *_compute_part(job, islice(stream, num_batches), after))


def _compute_part(
    job: Job, batches: Iterable[ImageBatch], after: Callable[[ImageBatch], None]
) -> tuple[dict[str, Tensor], list[str], list[Skipped]]:
    """What is kept of some batches, the names of their images, and those that could not be read."""
    rows: list[dict[str, Tensor]] = []
    keys: list[str] = []
    skipped: list[Skipped] = []
    for batch in batches:
        if batch.keys:
            rows.append(_rows(job, job.features(batch.images), batch))
        keys += batch.keys
        skipped += batch.skipped
        after(batch)
    return stack(rows), keys, skipped


def _read(job: Job, batches: Sequence[list[int]], num_images: int) -> Iterator[ImageBatch]:
    workers = job.settings.workers
    loader: DataLoader[ImageBatch] = DataLoader(
        SourceImages(job.source, job.size_px, job.settings.fit, masks=job.wanted.masks),  # type: ignore[arg-type]
        batch_sampler=batches,
        num_workers=default_workers(num_images) if workers is None else workers,
        collate_fn=to_batch,
        pin_memory=job.device.type == "cuda",
        worker_init_fn=start_worker,
        generator=torch.Generator(),  # else it would draw from the one of the process, which may be training
    )
    return iter(loader)


def _rows(job: Job, features: ImageFeatures, batch: ImageBatch) -> dict[str, Tensor]:
    """What is kept of a batch, on the CPU."""
    cls = features.cls.float().cpu()
    if cls.shape[1:] != job.probe.cls.shape[1:]:
        widths = f"{cls.shape[-1]} dimensions for {len(cls)} images and {job.probe.cls.shape[-1]} for one"
        raise ConfigError(f"{job.model.name} returns embeddings of {widths}; expected [B, D] with the same D for any B")
    rows = {"cls": cls[:, -1].contiguous()}
    if job.source.class_names is not None:
        rows["label"] = torch.tensor([UNLABELLED if label is None else label for label in batch.labels])
    if job.wanted.layers > 1:
        rows["cls_layers"] = cls
    if features.patches is not None and job.wanted.patch_mean:
        rows["patch_mean"] = features.patches.float().mean((1, 2)).cpu()
    if features.patches is not None and job.wanted.patches:
        rows["patches"] = features.patches.half().cpu()
    if batch.masks is not None:
        rows["mask"] = batch.masks
    return rows


def _metadata(job: Job) -> dict[str, Any]:
    source = job.source
    return {
        "source": source.location,
        "class_names": source.class_names,
        "mask_names": getattr(source, "mask_names", None),
        "settings": job.describe(),
        "key": job.loose_key(),
    }


def _seen_by_all() -> Path | None:
    """Where a temporary folder goes: None is the machine's own place, which ranks on other machines do not see."""
    if len(set(gather(platform.node()))) == 1:
        return None
    place = cache_folder()
    place.mkdir(parents=True, exist_ok=True)
    return place


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    """One folder for all ranks, gone when every rank has opened what it needs."""
    place = _seen_by_all()
    made = on_rank_zero(lambda: tempfile.mkdtemp(prefix="franca-features-", dir=place))
    folder = Path(made)
    try:
        yield folder
        raise_together(None)  # all have come so far
    finally:
        if is_rank_zero():
            for path in folder.iterdir():
                path.unlink()
            folder.rmdir()
