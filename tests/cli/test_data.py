"""``franca data`` from the words of the command line to its output and exit code."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from franca.cli.data import USAGE
from franca.cli.data_options import PackOptions, PreviewOptions
from franca.cli.main import main
from franca.config.build import option_keys
from franca.config.schema import Config, DataConfig
from franca.data.decode import EXTENSIONS, MAX_PIXELS, MAX_PIXELS_OF_JPEG
from franca.data.sources import open_source
from franca.train.hooks import LimitBadSamples
from tests.data.tars import picture, write_tar

Run = Callable[..., int]


@pytest.fixture
def franca(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs ``franca data`` in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return lambda *words: main(["data", *words])


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two classes of four images."""
    root = tmp_path / "my photos"
    for number, name in enumerate(("cat", "dog")):
        (root / name).mkdir(parents=True)
        for index in range(4):
            Image.new("RGB", (40, 30), (50 * index, 100 * number, 0)).save(root / name / f"{index}.jpg")
    return root


def lines(capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    """What was printed, by its first word or words."""
    return {line[:16].strip(): line[16:] for line in capsys.readouterr().out.splitlines()}


def test_check_of_good_images(franca: Run, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert franca("check", str(photos), "workers=0", "out=found/check.json") == 0
    shown = lines(capsys)
    assert shown["source"] == f"{photos}: folder, 8 images, 2 classes"
    assert shown["read"].startswith("8 of 8 images") and shown["bad"] == "none"
    assert shown["images a class"] == "2 classes, 4 (cat) to 4 (cat) images"
    assert re.fullmatch(r"one makes the usual crops, .* images/s; performance.workers=\d+ suits .*", shown["workers"])
    found = json.loads(Path("found/check.json").read_text())
    assert found["is_clean"] and found["images_per_class"] == {"cat": 4, "dog": 4} and found["width_px"]["max"] == 40


def test_check_of_bad_images_is_1(franca: Run, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (photos / "cat" / "9.jpg").write_bytes((photos / "cat" / "0.jpg").read_bytes()[:-100])
    assert franca("check", str(photos), "workers=0") == 1
    shown = lines(capsys)
    assert shown["bad"] == "1 (11.11%)" and shown[""] == "1 truncated: cat/9.jpg"
    assert franca("check", str(photos), "workers=0", "sample=1") in (0, 1)
    assert lines(capsys)["read"].startswith("1 of 9 images")


def test_files_that_no_sample_uses_are_counted_and_nothing_is_printed_in_between(
    franca: Run, photos: Path, capsys: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    (photos / "cat" / "notes.txt").write_text("x")
    (photos / "cat" / "odd.tif").write_bytes(b"II*\0\xff\xff\xff\xff" + bytes(50))
    Image.new("RGB", (40, 30)).save(photos / "cat/exif.jpg", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01\x12")
    Image.fromarray(np.full((4, 4), np.inf, np.float32)).save(photos / "cat" / "infinite.tif")
    assert franca("check", str(photos), "workers=0") == 1
    printed = capsys.readouterr()
    assert "other files     passed over: 1 (.txt 1)" in printed.out and printed.err == ""
    assert not recwarn.list
    write_tar(Path("shards/0.tar"), [("a.png", picture()), ("a.npy", b"x"), ("b.txt", b"x")])
    for _ in range(2):
        assert franca("index", "shards", "workers=0") == 0
        assert lines(capsys)["other files"] == "passed over: 2 (.npy 1, .txt without an image 1)"


def test_index_makes_what_is_missing(franca: Run, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert franca("pack", str(photos), "packed", "max_images=3", "workers=0") == 0
    capsys.readouterr()
    for made, kept in ((3, 0), (0, 3)):
        assert franca("index", "packed", "workers=0") == 0
        shown = lines(capsys)
        assert shown["shards"].startswith("3, ") and shown["samples"] == "8"
        assert shown["indexes"].startswith(f"{made} made, {kept} were up to date")
        assert shown["lie in"] == "packed"
    shard = Path("packed/000000.tar")
    shard.chmod(0o644)
    shard.write_bytes(shard.read_bytes()[:3000])
    assert franca("index", "packed", "workers=0") == 1
    assert lines(capsys)["damaged"].startswith("packed/000000.tar: cut off")


def test_pack_and_open_again(franca: Run, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (photos / "dog" / "zero.jpg").touch()
    assert franca("pack", str(photos), "packed", "resize_px=15", "quality=80", "seed=3", "workers=0") == 0
    shown = lines(capsys)
    assert shown["packed"].startswith("8 images, ") and shown["shards"] == "1, in packed"
    assert shown["left out"] == "1 empty: dog/zero.jpg"
    packed = open_source("packed", labels=True)
    assert packed.class_names == ("cat", "dog") and packed.read(0).image.shape == (3, 15, 20)
    assert franca("pack", str(photos), "packed") == 2
    assert "not an empty folder" in capsys.readouterr().err


def test_preview_is_a_picture_and_the_same_again(franca: Run, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["recipe=tiny", "num_images=3", "data.global_size_px=32", "data.local_size_px=16"]
    for name in ("a.png", "b.png", "c.png"):
        seed = ["train.seed=1"] if name == "c.png" else []
        assert franca("preview", str(photos), f"pictures/{name}", *words, *seed) == 0
        shown = lines(capsys)
        assert {shown[f"row {number}"].split("/")[0] for number in (1, 2, 3)} <= {"cat", "dog"}
        assert "recipe tiny" in shown["wrote"]
    a, b, c = (Image.open(f"pictures/{name}.png").tobytes() for name in "abc")
    assert a == b != c


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "the following arguments are required: action"),
        (["chekc", "synthetic"], "invalid choice: 'chekc'"),
        (["check"], "SRC is missing"),
        (["check", "none"], "none does not exist"),
        (["check", "synthetic", "smaple=3"], "did you mean sample?"),
        (["check", "synthetic", "out=."], "out=. is a folder"),
        (["index", "none/*.tar"], "No file matches"),
        (["pack", "synthetic"], "expected two paths"),
        (["pack", "synthetic", "out", "quality=101"], "a whole number from 1 to 100"),
        (["pack", "none", "out"], "none does not exist"),
        (["preview", "synthetic"], "expected two paths"),
        (["preview", "synthetic", "out.txt"], "expected the name of a picture, such as out.png"),
        (["preview", "synthetic", "a.png", "num_imges=1"], "did you mean num_images?"),
        (["preview", "synthetic", "a.png", "data.num_local_crop=1"], "did you mean data.num_local_crops?"),
        (["preview", "synthetic", "a.png", "recipe=tinny"], "did you mean tiny?"),
    ],
)
def test_wrong_use_is_one_message_and_2(
    franca: Run, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert franca(*words) == 2
    printed = capsys.readouterr()
    assert said in printed.err and "Traceback" not in printed.err
    assert list(Path().iterdir()) == []


def test_defaults_in_the_help_are_those_of_the_options() -> None:
    for options, names in (
        (PackOptions(), ("max_bytes", "max_images", "seed", "quality")),
        (PreviewOptions(), ("recipe", "num_images")),
    ):
        for name in names:
            assert re.search(rf"\b{name}={getattr(options, name)}\b", USAGE)


def test_options_on_the_page_about_data_exist() -> None:
    page = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
    named = set(re.findall(r"(?<![\w.])(?:data|performance)\.[a-z_]+\b", page)) - {"data.json"}
    assert named and named <= set(option_keys(Config))
    defaults = DataConfig()
    for text in (f"{defaults.num_lanes} lanes", f"{defaults.window:,}", f"default {defaults.max_bad_fraction:.0%}"):
        assert text in page.replace(" %", "%").replace("\n", " ")
    flat = " ".join(page.split())
    judge_after = inspect.signature(LimitBadSamples).parameters["judge_after"].default
    assert f"Until {judge_after} samples are read" in flat
    assert f"{MAX_PIXELS // 10**6} million pixels, for a JPEG {MAX_PIXELS_OF_JPEG // 10**6} million" in flat
    assert f"Endings: {', '.join(ending[1:] for ending in EXTENSIONS)}." in flat
