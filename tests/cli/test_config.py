from __future__ import annotations

import pytest
import yaml

from franca import assets
from franca.cli.main import main


def out(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["config", *arguments]) == 0
    return capsys.readouterr().out


def error(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["config", *arguments]) == 2
    return capsys.readouterr().err


def test_list_has_a_line_for_each_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    lines = out(capsys, "list").splitlines()
    assert [line.split()[0] for line in lines] == assets.names("configs")
    assert all(len(line.split()) > 3 for line in lines)


def test_show_prints_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    shown = yaml.safe_load(out(capsys, "show", "tiny", "train.seed=7"))
    assert shown["train"] == {"steps": 20, "global_batch": 8, "seed": 7, "max_steps_not_finite": 10}
    assert shown["optim"]["beta2"] == 0.999


def test_check_says_valid_or_all_that_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    assert out(capsys, "check", "tiny") == "tiny: every option is valid\n"
    assert "data.train is not set yet" in out(capsys, "check", "vits14")
    message = error(capsys, "check", "tiny", "train.stepz=3", "data.flip=2")
    assert message.startswith("error: 2 problems in recipe tiny")
    assert "did you mean train.steps?" in message


def test_diff_shows_what_differs(capsys: pytest.CaptureFixture[str]) -> None:
    assert "train.steps: 20 -> " in out(capsys, "diff", "tiny", "demo")
    assert out(capsys, "diff", "tiny", "tiny") == "no differences\n"


def test_explain_takes_options_groups_or_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert "Optimizer steps." in out(capsys, "explain", "train.steps")
    assert out(capsys, "explain", "train", "init").count("\n  default  ") == 6
    assert "performance.attention" in out(capsys, "explain")
    assert "did you mean train.steps?" in error(capsys, "explain", "train.step")


@pytest.mark.parametrize(
    "arguments", [[], ["shwo"], ["show"], ["diff", "tiny"], ["list", "tiny"], ["diff"] + ["tiny"] * 3]
)
def test_wrong_use_shows_how(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert "franca config" in error(capsys, *arguments)
