"""Everything that data can be broken by, at once: it is replaced, counted, and never ends a run below the limit."""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from franca.config.recipes import load_recipe
from franca.config.schema import PerformanceConfig
from franca.data import shard_cache
from franca.data.collate import PretrainingData
from franca.data.mixture import make_plan
from franca.data.sample import BadSample, Source
from franca.data.sources import open_source, open_training_source
from franca.data.tar_index import index_shard
from franca.data.webdataset import TarSource
from franca.errors import TooManyBadSamples
from tests.data.servers import serve
from tests.data.tars import write_tar
from tests.train.test_pretrain import metrics_of, run_tiny


def encoded(image: Image.Image, format: str = "jpeg", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def noise(mode: str = "RGB") -> Image.Image:
    values = np.random.default_rng(0).integers(0, 256, (40, 48, 4), dtype=np.uint8)
    return Image.fromarray(values[..., :3]).convert(mode)


def bomb() -> bytes:
    data = bytearray(encoded(Image.new("1", (8, 8)), "png"))
    data[16:24] = (100_000).to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(bytes(data[12:29])).to_bytes(4, "big")
    return bytes(data)


def bad_exif() -> bytes:
    exif = Image.Exif()
    exif[0x0112], exif[0x011A] = 6, (1, 0)  # turned; a resolution of one over zero
    return encoded(noise(), exif=exif.tobytes()[:40])


JPEG = encoded(noise())
GOOD = {
    "plain.jpg": JPEG,
    "cmyk.jpg": encoded(noise("CMYK")),
    "one_bit.png": encoded(noise("1"), "png"),
    "palette.png": encoded(noise("P"), "png", transparency=0),
    "deep.png": encoded(Image.fromarray(np.arange(40 * 48, dtype=np.uint16).reshape(40, 48) * 30), "png"),
    "animated.gif": encoded(noise("P"), "gif", save_all=True, append_images=[noise("P")]),
    "gzipped.jpg": gzip.compress(JPEG),
    "exif.jpg": bad_exif(),
    "twice.jpg": JPEG,
    "twice.png": encoded(noise(), "png"),
    "note.xyz": b"not for us",
    "README": b"nor this",
}
BAD = {"cut.jpg": JPEG[: len(JPEG) // 2], "zero.jpg": b"", "page.jpg": b"<html></html>", "bomb.png": bomb()}
REASONS = Counter(truncated=1, empty=1, not_an_image=1, too_large=1)


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """Four good shards of 20 images, one of everything, one that is cut, one that is no tar, and one compressed."""
    root = tmp_path / "shards"
    for number in range(4):
        write_tar(root / f"{number:05d}.tar", [(f"{i:04d}.jpg", JPEG) for i in range(20)])
    write_tar(root / "00004.tar", [*GOOD.items(), *BAD.items(), ("twice.jpg", JPEG)])
    cut = write_tar(root / "00005.tar", [(f"{i}.jpg", JPEG) for i in range(4)])
    cut.write_bytes(cut.read_bytes()[: 2 * (512 + -(-len(JPEG) // 512) * 512) + 700])  # in the third image
    (root / "00006.tar").write_text("gone")
    (root / "00007.tar").write_bytes(gzip.compress((root / "00000.tar").read_bytes()))
    return root


def bad_of(source: Source) -> Counter[str]:
    """Reads every sample; reasons of those that cannot be."""
    reasons = Counter[str]()
    for index in range(len(source)):
        try:
            source.read(index)
        except BadSample as bad:
            reasons[bad.reason] += 1
    return reasons


def met(source: Source, num_positions: int) -> Counter[str]:
    """What a run of so many positions has to skip, replacements included."""
    plan, reasons = make_plan(source, seed=0), Counter[str]()
    for position in range(num_positions):
        sample = int(plan.samples([position])[0])
        for attempt in range(16):
            try:
                source.read(sample)
                break
            except BadSample as bad:
                reasons[bad.reason] += 1
                sample = plan.replacement(position, attempt)
    return reasons


def test_each_kind_of_damage_is_converted_or_has_its_reason(shards: Path) -> None:
    source = open_source(str(shards))
    # 20 each of four; ten images that can be used, four that cannot, and one key for the third time; two of the cut
    # shard and its damage; one each for what is no tar.
    assert source.group_sizes == (20, 20, 20, 20, 15, 3, 1, 1)
    assert bad_of(source) == REASONS + Counter(damaged_shard=2, unreadable=1)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_replaces_and_counts_exactly(shards: Path, tmp_path: Path, workers: int) -> None:
    options = (f"data.train={shards}", "train.steps=13", f"performance.workers={workers}")
    _, output = run_tiny(tmp_path / "run", *options, "data.max_bad_fraction=0.2")
    last = metrics_of(tmp_path / "run")[-1]
    expected = met(open_source(str(shards)), last["images"])
    assert expected == {
        name.removeprefix("data/skipped/"): number for name, number in last.items() if name.startswith("data/skipped/")
    }
    assert last["data/skipped"] == expected.total() >= 7  # one pass over 100 samples, 7 of them bad
    assert f"{expected.total():,} unreadable samples replaced (" in output
    assert "most in 00004.tar" in output


def test_above_the_limit_the_run_stops_with_examples(shards: Path, tmp_path: Path) -> None:
    with pytest.raises(
        TooManyBadSamples, match=r"more than data\.max_bad_fraction=0\.01 .* The last ones: 0000\d\.tar"
    ):
        run_tiny(tmp_path / "run", f"data.train={shards}", "train.steps=60", "data.max_bad_fraction=0.01")


def test_a_shard_that_disappears_changes_nothing_else(shards: Path, tmp_path: Path) -> None:
    """Neither while a run goes on, nor between two starts: the order of all other samples stays."""
    config = load_recipe("tiny", [f"data.train={shards}", "data.max_bad_fraction=0.9"])
    before = PretrainingData.from_config(open_source(str(shards)), config)
    wanted = [before[item] for item in range(12)]
    options = (f"data.train={shards}", "data.max_bad_fraction=0.9", "run.checkpoint_every_steps=6")
    run_tiny(tmp_path / "run", *options, "train.steps=6")
    (shards / "00001.tar").unlink()
    record = json.loads((tmp_path / "run/data.json").read_text())
    after = PretrainingData.from_config(open_training_source(config.data, PerformanceConfig(), record=record), config)
    gone = range(20, 40)
    for item, batch in enumerate(wanted):
        again = after[item]
        kept = [place for place, sample in enumerate(batch.samples.tolist()) if sample not in gone]
        assert again.samples[kept].tolist() == batch.samples[kept].tolist()
        replaced = [place for place, sample in enumerate(batch.samples.tolist()) if sample in gone]
        assert all(again.samples[place] not in gone for place in replaced)
        assert len(again.skipped) >= len(replaced)


def test_a_server_that_fails_is_counted_by_reason(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shard_cache, "_FIRST_PAUSE_SECONDS", 0.0)
    (shards / "sizes.json").write_text(json.dumps({f"{number:05d}.tar": 20 for number in range(8)}))
    with serve(shards) as server:
        server.faults |= {"00005.tar": 500, "00006.tar": 404, "00007.tar": "stall"}
        options = (
            f"data.train={server.address}/{{00000..00007}}.tar", f"performance.cache_dir={tmp_path / 'cache'}",
            "performance.remote_timeout_seconds=0.2", "performance.remote_retries=1", "data.max_bad_fraction=0.9",
            "train.steps=4",
        )  # fmt: skip
        run_tiny(tmp_path / "run", *options)
    last = metrics_of(tmp_path / "run")[-1]
    assert {name for name in last if name.startswith("data/skipped/")} >= {
        "data/skipped/http_500", "data/skipped/http_404", "data/skipped/timeout",
    }  # fmt: skip
    assert last["images"] == 32


@pytest.fixture(scope="module")
def shard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    members = [
        *GOOD.items(),
        *BAD.items(),
        *((f"{i}.{e}", d) for i in range(3) for e, d in (("jpg", JPEG), ("cls", b"1"))),
    ]
    return write_tar(tmp_path_factory.mktemp("fuzz") / "x.tar", members)


@pytest.fixture(scope="module")
def real_shard(tmp_path_factory: pytest.TempPathFactory, test_data: Path) -> Path:
    """The first few photos, with captions and JSON."""
    path = tmp_path_factory.mktemp("fuzz") / "real.tar"
    path.write_bytes((test_data / "laion_layout/00000.tar").read_bytes()[:300_000])
    return path


flips = st.lists(st.tuples(st.integers(0, 1 << 24), st.integers(1, 255)), min_size=1, max_size=20)
cuts = st.integers(0, 1 << 24)


def survives(shard: Path, flips: list[tuple[int, int]], cut: int, *, late: bool) -> None:
    """Read a shard with flipped bytes and a cut, which are there from the start or come after it was counted."""
    whole = shard.read_bytes()
    broken = bytearray(whole)
    for place, change in flips:
        broken[place % len(whole)] ^= change
    del broken[len(whole) - cut % len(whole) :]
    fuzzed = shard.with_name("fuzzed.tar")
    fuzzed.write_bytes(whole if late else broken)
    source = TarSource([fuzzed, shard], "here")
    fuzzed.write_bytes(broken)
    assert bad_of(source).total() <= len(source)
    assert len(source) >= index_shard(shard).num_samples


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(flips=flips, cut=st.one_of(st.just(0), cuts), late=st.booleans())
def test_flipped_bytes_make_bad_samples(shard: Path, flips: list[tuple[int, int]], cut: int, late: bool) -> None:
    survives(shard, flips, cut, late=late)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(flips=flips, cut=st.one_of(st.just(0), cuts), late=st.booleans())
def test_flipped_bytes_of_a_real_shard(real_shard: Path, flips: list[tuple[int, int]], cut: int, late: bool) -> None:
    survives(real_shard, flips, cut, late=late)
