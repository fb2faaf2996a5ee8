"""Recipes: defaults, then a YAML file with what differs, then ``key=value``."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, cast

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from franca import assets
from franca.config import check
from franca.config.build import build, text_keys
from franca.config.problems import Problem, did_you_mean, raise_for
from franca.config.schema import RESULT_GROUPS, Config
from franca.errors import ConfigError

_COMMA_OUTSIDE_BRACES = re.compile(r",(?![^{}]*\})")


def load_recipe(name_or_path: str, overrides: Sequence[str] = (), *, need_data: bool = True) -> Config:
    """The checked config of a recipe.

    Args:
        name_or_path: a recipe of ours by name, or the path of a YAML file.
        overrides: ``key=value`` texts, later ones win; values are written as in YAML.
        need_data: whether ``data.train`` must be set, as it must for training.

    Raises:
        ConfigError: no such recipe, malformed YAML or override, or a config that `build` refuses.
    """
    path = recipe_path(name_or_path)
    data = _read(path)
    for key, value in parse_overrides(overrides, text_keys=text_keys(Config)).items():
        _set(data, key.split("."), value)
    where = f"recipe {name_or_path}" + (" and the key=value arguments" if overrides else "")
    return build(data, check=partial(check.problems, need_data=need_data), where=where)


def recipe_path(name_or_path: str) -> Path:
    """Where a recipe lies. A name is looked up among ours; anything with a suffix or a folder is a path.

    Raises:
        ConfigError: there is no such recipe; the message lists ours.
    """
    is_path = Path(name_or_path).suffix in (".yaml", ".yml") or len(Path(name_or_path).parts) > 1
    path = Path(os.path.expanduser(name_or_path)) if is_path else assets.path("configs", f"{name_or_path}.yaml")
    if path.is_file():
        return path
    known = assets.names("configs")
    if is_path:
        raise ConfigError(f"No recipe file at {path}. Give the path of a YAML file, or one of: {', '.join(known)}.")
    hint = did_you_mean(name_or_path, known)
    raise ConfigError(
        f"No recipe is called {name_or_path!r}{hint}\nKnown recipes: {', '.join(known)}. "
        "A recipe of your own is given by its path, such as ./mine.yaml."
    )


def parse_overrides(overrides: Iterable[str], *, text_keys: Collection[str] = ()) -> dict[str, Any]:
    """Dotted key to value, from ``key=value`` texts.

    Args:
        overrides: the texts; values are written as in YAML.
        text_keys: options that hold paths or names, which YAML would spoil (``2024``, ``a #b``): they are taken as they
            stand, but for ``null`` and lists.

    Raises:
        ConfigError: some are not ``key=value``; the message lists them.
    """
    values: dict[str, Any] = {}
    malformed: list[Problem] = []
    for text in overrides:
        key, equals, value = text.partition("=")
        if not equals or not all(key.split(".")):
            malformed.append(Problem((text,), "expected key=value, such as train.steps=1000"))
        elif not value:
            malformed.append(Problem((text,), f"no value; write {key}=null for none"))
        else:
            values[key] = _parse_text(value) if key in text_keys else _parse_value(value)
    raise_for(malformed, "the arguments")
    return values


def nested(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options by dotted key as groups within groups, for `build`; of two that contradict each other the later wins."""
    data: dict[str, Any] = {}
    for key, value in options.items():
        _set(data, key.split("."), value)
    return data


def to_yaml(config: Config) -> str:
    """Every option as YAML text that `load_recipe` reads back to an equal config."""
    return yaml.dump(asdict(config), Dumper=_OneLineAnOption, sort_keys=False, allow_unicode=True)


def differences(a: Config, b: Config, groups: Iterable[str] = RESULT_GROUPS) -> list[str]:
    """``key: a -> b`` for each option of ``groups`` in which two configs differ."""
    before, after = dict(_flat(asdict(a))), dict(_flat(asdict(b)))
    chosen = set(groups)
    return [
        f"{key}: {_show(before[key])} -> {_show(after[key])}"
        for key in before
        if key.split(".")[0] in chosen and before[key] != after[key]
    ]


class _OneLineAnOption(yaml.SafeDumper):
    """Writes lists in the line of their option."""


def _list_in_one_line(dumper: yaml.SafeDumper, items: list[Any]) -> yaml.Node:
    return dumper.represent_sequence("tag:yaml.org,2002:seq", items, flow_style=True)


_OneLineAnOption.add_representer(list, _list_in_one_line)


def _read(path: Path) -> dict[str, Any]:
    try:
        data = OmegaConf.to_container(OmegaConf.load(path))
    except (yaml.YAMLError, OmegaConfBaseException, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{path} must hold groups of options (data:, model:, …), but it holds a list.")
    return {str(key): value for key, value in data.items()}


def _parse_text(text: str) -> Any:
    """A path or name as it stands, but for ``null`` and lists in square brackets."""
    parsed = _parse_value(text)
    if isinstance(parsed, str) and text.startswith("[") and text.endswith("]"):  # YAML stumbles over {0..9} in a list
        return [item.strip().strip("'\"") for item in _COMMA_OUTSIDE_BRACES.split(text[1:-1])]
    return parsed if parsed is None or isinstance(parsed, list) else text


def _parse_value(text: str) -> Any:
    """A value as YAML reads it; what it cannot read, such as ``@list.txt`` or ``{0..9}.tar``, stays text."""
    try:
        parsed = OmegaConf.from_dotlist([f"value={text}"])
    except (yaml.YAMLError, OmegaConfBaseException):
        return text
    return cast(dict[str, Any], OmegaConf.to_container(parsed))["value"]


def _set(data: dict[str, Any], key: Sequence[str], value: Any) -> None:
    for name in key[:-1]:
        if not isinstance(data.get(name), dict):
            data[name] = {}
        data = data[name]
    data[key[-1]] = value


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _show(value: Any) -> str:
    return "null" if value is None else str(value)
