"""The words after ``franca data ACTION``."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from franca.cli.data_options import CheckOptions, PackOptions, one_source, open_for, read, source_and_output, split
from franca.config.schema import SyntheticConfig
from franca.errors import ConfigError, DataError


def test_paths_and_options_are_told_apart() -> None:
    words = ["photos", "workers=1", "./a=b", "s3://bucket/{0..9}.tar?a=b", "synthetic.num_images=3", "pipe:cat a=b"]
    assert split(words) == (
        ["photos", "./a=b", "s3://bucket/{0..9}.tar?a=b", "pipe:cat a=b"],
        ["workers=1", "synthetic.num_images=3"],
    )


def test_options_are_read_and_checked() -> None:
    options = read(["sample=10", "out=007", "synthetic.num_images=3", "synthetic.seed=1"], CheckOptions, "check")
    assert options == CheckOptions(sample=10, out="007", synthetic=SyntheticConfig(num_images=3, seed=1))
    assert read(["max_bytes=1e9", "labels=false"], PackOptions, "pack").max_bytes == 10**9
    with pytest.raises(ConfigError) as raised:
        read(["sampel=1", "workers=-1", "synthetic.x=1", "kind=tarr"], CheckOptions, "check")
    message = str(raised.value)
    assert message.startswith("4 problems in the options of franca data check")
    for said in ("did you mean sample?", "a whole number >= 0", "synthetic.x", "did you mean tar?"):
        assert said in message


def test_one_source_is_a_word_a_list_or_what_a_shell_made_of_a_glob() -> None:
    assert one_source(["007"], "") == "007"
    assert one_source(["/data/{000..018}.tar"], "") == "/data/{000..018}.tar"
    assert one_source(["[a.tar, b.tar]"], "") == one_source(["a.tar", "b.tar"], "") == ["a.tar", "b.tar"]
    assert source_and_output(["a.tar", "b.tar", "out"], "") == (["a.tar", "b.tar"], Path("out"))
    assert source_and_output(["photos", "~/out"], "")[1].is_absolute()
    with pytest.raises(ConfigError, match="SRC is missing: franca data check SRC"):
        one_source([], "check SRC")
    with pytest.raises(ConfigError, match="expected two paths: franca data pack SRC OUT; found: photos"):
        source_and_output(["photos"], "pack SRC OUT")


def test_images_without_labels(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    assert open_for(str(tmp_path), PackOptions()).class_names is None
    with pytest.raises(DataError, match="No labels"):
        open_for(str(tmp_path), PackOptions(), labels=True)


def test_images_with_labels(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "cat" / "a.png")
    assert open_for(str(tmp_path), PackOptions()).class_names == ("cat",)
    assert open_for(str(tmp_path), PackOptions(), labels=False).class_names is None
    with pytest.raises(DataError, match="does not exist"):
        open_for(str(tmp_path / "none"), PackOptions())


def test_shards_elsewhere_are_not_all_fetched_to_look_for_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []
    monkeypatch.setattr("franca.cli.data_options.open_source", lambda *_, labels, **__: asked.append(labels))
    (tmp_path / "list.txt").write_text("http://host/0.tar\n")
    for location in ("http://host/0.tar", f"@{tmp_path}/list.txt", ["a.tar", "pipe:cat b.tar"]):
        open_for(location, PackOptions())
    assert asked == [False] * 3
    open_for(str(tmp_path), PackOptions())
    assert asked[3:] == [True]
