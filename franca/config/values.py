"""Reads one value as the type, range and choices of its option, and says in plain words what was expected."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

from franca.config.problems import Problem, did_you_mean

_RATIO = re.compile(r"\s*([\d.]+)\s*/\s*([\d.]+)\s*")
_SINGULAR = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
_PLURAL = {bool: "true or false", int: "whole numbers", float: "numbers", str: "texts"}


class InvalidValueError(Exception):
    """A value does not fit its option; ``problems`` says why, item by item for a list."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__("; ".join(problem.text for problem in problems))
        self.problems = problems


def convert(value: Any, kind: Any, key: str, limits: Mapping[str, Any]) -> Any:
    """The value as ``kind``: whole floats become ints, ints and ``"1/2"`` become floats, and that is all.

    Args:
        value: as YAML gave it.
        kind: the annotation of the field.
        key: dotted key of the option, for the message.
        limits: ``low``, ``high``, ``choices`` and ``aliases`` of the option, each may be missing or None.

    Raises:
        InvalidValueError: the value has another type, is out of range, or is none of the choices.
        TypeError: ``kind`` is a type that options cannot have.
    """
    if get_origin(kind) in (Union, UnionType):
        return _convert_union(value, kind, key, limits)
    if get_origin(kind) in (list, tuple):
        return _convert_items(value, kind, key, limits)
    if kind not in _SINGULAR:
        raise TypeError(f"{key}: options cannot have the type {kind}")
    read = _scalar(value, kind)
    aliases = limits.get("aliases") or {}
    if isinstance(read, str):
        read = aliases.get(read.lower(), read)
    if read is None or not _within(read, limits):
        hint = did_you_mean(value, limits.get("choices") or ()) if isinstance(value, str) else ""
        raise _mismatch(value, kind, key, limits, hint)
    return read


def expected(kind: Any, limits: Mapping[str, Any]) -> str:
    """What an option takes, in words: ``a number from 0 to 1 or null``."""
    if get_origin(kind) in (Union, UnionType):
        members = [member for member in get_args(kind) if member is not NoneType]
        words = [expected(member, limits) for member in members]
        return " or ".join(words + ["null"] * (NoneType in get_args(kind)))
    if get_origin(kind) in (list, tuple):
        item, bounds = get_args(kind)[0], _range(limits)
        return f"a list of {_PLURAL[item]}{', each' * bool(bounds)}{bounds}"
    if kind is str and limits.get("choices"):
        return f"one of {', '.join(limits['choices'])}"
    return _SINGULAR[kind] + _range(limits)


def _scalar(value: Any, kind: type) -> Any:
    """The value as a scalar of this kind, or None if it is not one."""
    if kind is bool or kind is str:
        return value if isinstance(value, kind) else None
    if isinstance(value, str):
        return _ratio(value) if kind is float else None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    if kind is int:
        return int(value) if value == int(value) else None
    return float(value)


def _ratio(text: str) -> float | None:
    match = _RATIO.fullmatch(text)
    try:
        return float(match[1]) / float(match[2]) if match else None
    except (ValueError, ZeroDivisionError):
        return None


def _within(value: Any, limits: Mapping[str, Any]) -> bool:
    """Whether a text is among the choices, or a number in the range; an option may take both."""
    low, high, choices = limits.get("low"), limits.get("high"), limits.get("choices")
    if isinstance(value, str):
        return choices is None or value in choices
    return (low is None or value >= low) and (high is None or value <= high)


def _convert_union(value: Any, kind: Any, key: str, limits: Mapping[str, Any]) -> Any:
    members = get_args(kind)
    if NoneType in members and (value is None or str(value).lower() in ("none", "null")):
        return None
    for member in members:
        try:
            if member is not NoneType:
                return convert(value, member, key, limits)
        except InvalidValueError:
            continue
    raise _mismatch(value, kind, key, limits)


def _convert_items(value: Any, kind: Any, key: str, limits: Mapping[str, Any]) -> Any:
    if not isinstance(value, list):
        raise _mismatch(value, kind, key, limits)
    items: list[Any] = []
    problems: list[Problem] = []
    for index, item in enumerate(value):
        try:
            items.append(convert(item, get_args(kind)[0], f"{key}[{index}]", limits))
        except InvalidValueError as invalid:
            problems += invalid.problems
    if problems:
        raise InvalidValueError(*problems)
    return get_origin(kind)(items)


def _range(limits: Mapping[str, Any]) -> str:
    low, high = limits.get("low"), limits.get("high")
    if low is not None and high is not None:
        return f" from {low:g} to {high:g}"
    if low is not None:
        return f" >= {low:g}"
    return f" <= {high:g}" if high is not None else ""


def _mismatch(value: Any, kind: Any, key: str, limits: Mapping[str, Any], hint: str = "") -> InvalidValueError:
    found = "null" if value is None else repr(value)
    shown = found if len(found) <= 60 else f"{found[:57]}..."
    return InvalidValueError(Problem((key,), f"expected {expected(kind, limits)}; found {shown}{hint}"))
