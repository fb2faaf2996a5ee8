from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from franca import assets
from franca.errors import ConfigError
from franca.launch.profile import FOLDER, Profile, load_profile
from franca.launch.submission import script
from tests.launch.jobs import make_job


@pytest.mark.parametrize("name", assets.names(FOLDER))
def test_every_shipped_profile_gives_a_script(name: str, tmp_path: Path) -> None:
    assert "pretrain mine.yaml" in script(load_profile(name), make_job(tmp_path, nodes=1))


def test_without_a_name_everything_has_its_default() -> None:
    assert load_profile(None) == Profile()


def test_the_example_explains_every_key_and_shows_its_default() -> None:
    shown = yaml.safe_load(assets.path(FOLDER, "example.yaml").read_text())
    assert set(shown) == {field.name for field in fields(Profile)}
    assert load_profile("example") == Profile()


def test_a_file_of_ones_own_works_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.yaml").write_text("partition: gpu\nenvironment: ['export DATA=${SCRATCH}/x', 'cd \"$HOME\"']\n")
    expected = Profile(partition="gpu", environment=["export DATA=${SCRATCH}/x", 'cd "$HOME"'])
    assert load_profile(str(tmp_path / "mine.yaml")) == expected
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load_profile("mine.yaml") == load_profile("~/mine.yaml") == expected


def test_an_empty_file_takes_every_default(tmp_path: Path) -> None:
    (tmp_path / "empty.yaml").write_text("# nothing yet\n")
    assert load_profile(str(tmp_path / "empty.yaml")) == Profile()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("partion: gpu", ["partion", "did you mean partition?"]),
        ("colour: red", ["colour"]),
        ("nodes: 0", ["nodes", ">= 1", "found 0"]),
        ("signal: KILL", ["signal", "TERM, USR1, USR2"]),
        ("account: 1234", ["account", "expected text"]),
        ("srun: [cpu-bind=cores]", ["srun", "cpu-bind=cores"]),
        ("gres: gpu:a100", ["gres", "{gpus}"]),
        ("- partition", ["key: value"]),
        ("a: [", ["not valid YAML"]),
        ("nodes: 0\nhours: long", ["2 problems", "nodes", "hours"]),
    ],
)
def test_what_is_wrong_is_named(text: str, expected: list[str], tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_profile(str(path))
    message = str(caught.value)
    assert all(part in message for part in [*expected, "mine.yaml"])


def test_the_valid_keys_are_listed(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("partion: gpu")
    with pytest.raises(ConfigError) as caught:
        load_profile(str(tmp_path / "mine.yaml"))
    assert all(field.name in str(caught.value).splitlines()[-1] for field in fields(Profile))


@pytest.mark.parametrize("name", ["exampel", "./missing.yaml", "folder/missing"])
def test_an_unknown_profile_lists_those_there_are(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_profile(name)
    assert all(known in str(caught.value) for known in assets.names(FOLDER))
