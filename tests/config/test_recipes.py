from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from franca import assets
from franca.config.recipes import differences, load_recipe, parse_overrides, to_yaml
from franca.errors import ConfigError


@pytest.mark.parametrize("name", assets.names("configs"))
def test_every_recipe_is_valid(name: str) -> None:
    load_recipe(name, ["data.train=synthetic"])


@pytest.mark.parametrize("name", assets.names("configs"))
def test_every_recipe_says_command_cost_and_result(name: str) -> None:
    text = assets.path("configs", f"{name}.yaml").read_text()
    header = [line for line in text.splitlines() if line.startswith("#")]
    for word in (f"command   franca pretrain {name}", "hardware  ", "result    "):
        assert any(line.startswith(f"# {word}") for line in header), f"{name}: no line '# {word.strip()} …'"


def test_later_layers_win(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("data: {train: synthetic}\ntrain: {steps: 700000, seed: 3}\n")
    config = load_recipe(str(recipe), ["train.steps=800_000", "train.steps=900000"])
    assert (config.train.steps, config.train.seed, config.train.global_batch) == (900_000, 3, 2048)


def test_yaml_is_complete_and_reads_back_equal(tmp_path: Path) -> None:
    config = load_recipe("tiny", ["data.train=[a b.tar, 'ü.tar']", "objective.mask_aspect=[0.3, 1/0.3]"])
    file = tmp_path / "config.yaml"
    file.write_text(to_yaml(config), encoding="utf-8")
    assert load_recipe(str(file)) == config
    assert "  teacher_momentum_end: 1.0\n" in to_yaml(config)


def test_differences_name_old_and_new_in_the_groups_asked_for() -> None:
    before = load_recipe("tiny")
    after = load_recipe("tiny", ["train.seed=1", "init.backbone=x", "run.keep_last=5"])
    assert differences(before, after) == ["train.seed: 0 -> 1", "init.backbone: null -> x"]
    assert differences(before, after, ["run"]) == ["run.keep_last: 2 -> 5"]
    assert differences(before, before) == []


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a=3", 3),
        ("a=1e-3", 1e-3),
        ("a=true", True),
        ("a=null", None),
        ("a='3'", "3"),
        ("a=[1, 1/2]", [1, "1/2"]),
        ("a=@list.txt", "@list.txt"),
        ("a={0..9}.tar", "{0..9}.tar"),
        ("a=/data/{00000..59999}.tar", "/data/{00000..59999}.tar"),
        ("a=x=y", "x=y"),
        ("a=C:\\photos", "C:\\photos"),
        ("a=pipe:cat 'x y'", "pipe:cat 'x y'"),
    ],
)
def test_override_values_are_yaml_or_plain_text(text: str, value: Any) -> None:
    assert parse_overrides([text]) == {"a": value}


def test_every_malformed_override_is_named() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_overrides(["train.steps", "=3", "a..b=1", "run.dir=", "train.seed=1"])
    lines = str(caught.value).splitlines()
    assert lines[0] == "4 problems in the arguments:"
    assert [line.split()[0] for line in lines[1:]] == ["train.steps", "=3", "a..b=1", "run.dir="]
    assert "run.dir=null" in lines[-1]


def test_an_unknown_recipe_lists_the_known() -> None:
    with pytest.raises(ConfigError) as caught:
        load_recipe("tinny")
    text = str(caught.value)
    assert "did you mean tiny?" in text
    assert ", ".join(assets.names("configs")) in text


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"No recipe file at .*gone\.yaml"):
        load_recipe(str(tmp_path / "gone.yaml"))


@pytest.mark.parametrize("text", ["a: [1", "a: 1\na: 2", "- 1\n- 2", "a: *b", "\t- x", "a: ${"])
def test_malformed_yaml_is_named(tmp_path: Path, text: str) -> None:
    recipe = tmp_path / "bad.yaml"
    recipe.write_text(text)
    with pytest.raises(ConfigError, match=r"bad\.yaml"):
        load_recipe(str(recipe))


def test_bytes_that_are_not_text_are_refused(tmp_path: Path) -> None:
    recipe = tmp_path / "bad.yaml"
    recipe.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"bad\.yaml"):
        load_recipe(str(recipe))


def test_an_empty_recipe_is_the_defaults(tmp_path: Path) -> None:
    recipe = tmp_path / "empty.yaml"
    recipe.write_text("# nothing\n")
    assert load_recipe(str(recipe), ["data.train=synthetic"]).train.steps == 625_000


def test_a_value_under_a_value_is_reported() -> None:
    with pytest.raises(ConfigError, match=r"train\.steps .*found \{'x': 1\}"):
        load_recipe("tiny", ["train.steps.x=1"])
    with pytest.raises(ConfigError, match="data  this is a group"):
        load_recipe("tiny", ["data=photos"])


def test_data_train_is_required_for_training(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("{}")
    with pytest.raises(ConfigError, match=r"data\.train  required"):
        load_recipe(str(recipe))
    assert load_recipe(str(recipe), need_data=False).data.train is None


@pytest.mark.parametrize("text", ["my photos #2", "2024", "1e3", "true", "a: b", "{x}", "~nobody/photos", "{0..9}.tar"])
def test_paths_are_taken_as_they_stand(text: str) -> None:
    config = load_recipe("tiny", [f"data.train={text}", f"run.dir={text}"])
    assert (config.data.train, config.run.dir) == (text, text)


def test_braces_in_a_list_need_no_quotes() -> None:
    text = "[~/photos, /laion/{00..19}.tar, 'a b{x,y}.tar', \"pipe:cat {0..9}\", https://host/{a,b}/*.tar]"
    assert load_recipe("tiny", [f"data.train={text}"]).data.train == [
        "~/photos", "/laion/{00..19}.tar", "a b{x,y}.tar", "pipe:cat {0..9}", "https://host/{a,b}/*.tar",
    ]  # fmt: skip
    assert load_recipe("tiny", ["data.train=a[1].tar"]).data.train == "a[1].tar"


def test_a_path_may_be_a_list_or_nothing() -> None:
    config = load_recipe("tiny", ["data.train=[a.tar, b.tar]", "run.dir=null"])
    assert (config.data.train, config.run.dir) == (["a.tar", "b.tar"], None)
