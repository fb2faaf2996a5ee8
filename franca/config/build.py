"""Turns plain data (YAML, ``key=value``) into a checked dataclass, and reports every problem at once.

Works for any dataclass whose fields are bool, int, float, str, lists or tuples of these, unions of these, or
dataclasses again. Ranges and choices are read from the fields, as `franca.config.schema.option` writes them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any, TypeGuard, TypeVar, get_args, get_type_hints, overload

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from franca.config import check as cross_fields
from franca.config.problems import Problem, closest, raise_for
from franca.config.schema import Config
from franca.config.values import InvalidValueError, convert
from franca.errors import ConfigError

T = TypeVar("T")
Check = Callable[[Any], Iterable[Problem]]


@overload
def build(data: Mapping[str, Any] | DictConfig, *, check: Check | None = ..., where: str = ...) -> Config: ...
@overload
def build(
    data: Mapping[str, Any] | DictConfig, schema: type[T], *, check: Check | None = ..., where: str = ...
) -> T: ...
def build(
    data: Mapping[str, Any] | DictConfig,
    schema: type[Any] = Config,
    *,
    check: Check | None = None,
    where: str = "the config",
) -> Any:
    """A checked ``schema`` object; what ``data`` leaves out keeps its default.

    Args:
        data: nested options; interpolations (``${…}``) are resolved.
        schema: the dataclass to build.
        check: finds problems between options of the built object; None takes `franca.config.check.problems`
            for a `Config`, and nothing for other schemas.
        where: what is being read, for the error message.

    Raises:
        ConfigError: unknown keys, wrong types, values out of range, or options that contradict each other;
            the message lists all of them.
    """
    try:
        plain = OmegaConf.to_container(OmegaConf.create(dict(data)), resolve=True)
    except OmegaConfBaseException as error:
        place = f" at {error.full_key}" if error.full_key else ""
        raise ConfigError(f"Cannot read {where}{place}: {str(error).splitlines()[0]}") from error

    found: list[Problem] = []
    built = _build(plain, schema, "", found, option_keys(schema))
    if check is None and schema is Config:
        check = cross_fields.problems
    if check is not None and built is not None:
        found += _unless_broken(check(built), found)
    raise_for(found, where)
    return built


def option_keys(schema: type[Any], prefix: str = "") -> list[str]:
    """Every dotted key of ``schema``, in its order."""
    keys: list[str] = []
    for name, kind in get_type_hints(schema).items():
        keys += option_keys(kind, f"{prefix}{name}.") if is_group(kind) else [prefix + name]
    return keys


def text_keys(schema: type[Any], prefix: str = "") -> set[str]:
    """Dotted keys of ``schema`` that hold free text, such as paths: no number, and no choice among a few words."""
    found: set[str] = set()
    choices = {option.name: option.metadata.get("choices") for option in fields(schema)}
    for name, kind in get_type_hints(schema).items():
        if is_group(kind):
            found |= text_keys(kind, f"{prefix}{name}.")
        elif (kind is str or str in get_args(kind)) and not choices[name]:
            found.add(prefix + name)
    return found


def unknown_key(key: str, known: Sequence[str]) -> str:
    """Says that ``key`` does not exist, and which option was probably meant, or which there are.

    Args:
        key: dotted key that was given.
        known: dotted keys that exist.
    """
    group, _, name = key.rpartition(".")
    siblings = [other for other in known if other.rpartition(".")[0] == group]
    same_name = [other for other in known if other.rpartition(".")[2] == name]
    hint = _similar(name, siblings) or " or ".join(same_name) or _similar(name, known)
    if hint:
        return f"unknown key; did you mean {hint}?"
    if siblings:
        return f"unknown key; expected one of {', '.join(siblings)}"
    return f"unknown key; expected one of the groups {', '.join(dict.fromkeys(k.split('.')[0] for k in known))}"


def _similar(name: str, known: Iterable[str]) -> str | None:
    by_name = {other.rpartition(".")[2]: other for other in known}
    match = closest(name, by_name)
    return by_name[match] if match else None


def _build(data: Any, schema: type[Any], prefix: str, found: list[Problem], known: list[str]) -> Any:
    """The built object with defaults in place of broken values, or None if one has no default."""
    kinds = get_type_hints(schema)
    if not isinstance(data, Mapping):
        text = f"this is a group: set one of its options, such as {prefix}{next(iter(kinds))}; found {data!r}"
        found.append(Problem((prefix.rstrip("."),), text))
        data = {}
    for name in data:
        if name not in kinds:
            found += [Problem((key,), unknown_key(key, known)) for key in _leaves(data[name], f"{prefix}{name}")]

    values: dict[str, Any] = {}
    for field in fields(schema):
        key, kind = prefix + field.name, kinds[field.name]
        if is_group(kind):
            values[field.name] = _build(data.get(field.name, {}), kind, f"{key}.", found, known)
        elif field.name in data:
            try:
                values[field.name] = convert(data[field.name], kind, key, field.metadata)
            except InvalidValueError as invalid:
                found += invalid.problems
        elif not _has_default(field):
            found.append(Problem((key,), "required, but not given"))
    complete = all(field.name in values or _has_default(field) for field in fields(schema))
    return schema(**values) if complete else None


def _leaves(data: Any, key: str) -> list[str]:
    """The dotted keys of all values under ``key``."""
    if not isinstance(data, Mapping) or not data:
        return [key]
    return [leaf for name, value in data.items() for leaf in _leaves(value, f"{key}.{name}")]


def is_group(kind: Any) -> TypeGuard[type[Any]]:
    """Whether a field of this type holds options of its own."""
    return is_dataclass(kind)


def _has_default(field: Field[Any]) -> bool:
    return field.default is not MISSING or field.default_factory is not MISSING


def _unless_broken(problems: Iterable[Problem], found: list[Problem]) -> list[Problem]:
    """The problems between options that were read well: a broken one would only be blamed twice."""
    broken = {problem.keys[0].split("[")[0] for problem in found}

    def is_broken(key: str) -> bool:
        return any(key == other or key.startswith(f"{other}.") for other in broken)

    return [problem for problem in problems if not any(map(is_broken, problem.keys))]
