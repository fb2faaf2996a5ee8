"""``franca config``: look at recipes and options without running anything."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import fields

from franca import assets
from franca.config.build import unknown_key
from franca.config.explain import explanations
from franca.config.recipes import differences, load_recipe, recipe_path, to_yaml
from franca.config.schema import Config
from franca.errors import ConfigError

USAGE = """\
franca config list                        recipes, one line each
franca config show RECIPE [key=value …]   every option of a recipe
franca config check RECIPE [key=value …]  all that is wrong with it
franca config diff RECIPE RECIPE          what differs between two
franca config explain [KEY …]             what options mean; a group explains all of its options

RECIPE is a name from the list, or the path of a YAML file (a run folder keeps its own as config.yaml)."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``franca config``."""
    parser.usage, parser.description = "franca config ACTION …", USAGE
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("action", choices=tuple(_ACTIONS), help="what to do")
    parser.add_argument("words", nargs="*", metavar="WORD", help="what the action takes")


def run(args: argparse.Namespace) -> int:
    """Do the action; 0 unless it raises."""
    _ACTIONS[args.action](args.words)
    return 0


def _list(words: Sequence[str]) -> None:
    _expect(words, "nothing", 0, 0)
    names = assets.names("configs")
    width = max(map(len, names), default=0)
    for name in names:
        first_line = recipe_path(name).read_text(encoding="utf-8").splitlines()[0]
        print(f"{name:<{width}}  {first_line.lstrip('# ')}")


def _show(words: Sequence[str]) -> None:
    _expect(words, "RECIPE [key=value …]", 1)
    print(to_yaml(load_recipe(words[0], words[1:], need_data=False)), end="")


def _check(words: Sequence[str]) -> None:
    _expect(words, "RECIPE [key=value …]", 1)
    config = load_recipe(words[0], words[1:], need_data=False)
    print(f"{words[0]}: every option is valid")
    if not config.data.train:
        print("data.train is not set yet: give data.train=… when you pretrain")


def _diff(words: Sequence[str]) -> None:
    _expect(words, "RECIPE RECIPE", 2, 2)
    before, after = (load_recipe(name, need_data=False) for name in words)
    lines = differences(before, after, _groups())
    print("\n".join(lines) or "no differences")


def _explain(words: Sequence[str]) -> None:
    options = list(explanations())
    known = [option.key for option in options]
    for key in words:
        if not any(_covers(key, other) for other in known):
            raise ConfigError(f"{key}: {unknown_key(key, known)}")
    chosen = [option for option in options if not words or any(_covers(key, option.key) for key in words)]
    print("\n\n".join(map(str, chosen)))


def _covers(asked: str, key: str) -> bool:
    return key == asked or key.startswith(f"{asked}.")


def _groups() -> list[str]:
    return [group.name for group in fields(Config)]


def _expect(words: Sequence[str], what: str, low: int, high: int | None = None) -> None:
    if len(words) < low or (high is not None and len(words) > high):
        raise ConfigError(f"expected {what} here, got: {' '.join(words) or 'nothing'}\n{USAGE}")


_ACTIONS: dict[str, Callable[[Sequence[str]], None]] = {
    "list": _list,
    "show": _show,
    "check": _check,
    "diff": _diff,
    "explain": _explain,
}
