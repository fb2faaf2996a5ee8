"""What each option means, read from the schema itself."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from dataclasses import MISSING, dataclass, fields
from itertools import pairwise
from typing import Any, get_type_hints

from franca.config.build import is_group
from franca.config.schema import Config
from franca.config.values import expected


@dataclass(frozen=True)
class Explanation:
    """One option in words."""

    key: str
    takes: str
    default: Any
    meaning: str

    def __str__(self) -> str:
        default = "null" if self.default is None else self.default
        meaning = textwrap.indent(self.meaning, "  ")
        return f"{self.key}\n  takes    {self.takes}\n  default  {default}\n{meaning}"


def explanations(schema: type[Any] = Config, prefix: str = "") -> Iterator[Explanation]:
    """Every option of ``schema``, in its order, with the text that stands under its field."""
    kinds, texts = get_type_hints(schema), _field_texts(schema)
    for field in fields(schema):
        key, kind = prefix + field.name, kinds[field.name]
        if is_group(kind):
            yield from explanations(kind, f"{key}.")
            continue
        default = field.default if field.default_factory is MISSING else field.default_factory()
        yield Explanation(key, expected(kind, field.metadata), default, texts.get(field.name, ""))


def _field_texts(schema: type[Any]) -> dict[str, str]:
    """The string that follows each field in the source, as editors show it."""
    body = ast.parse(inspect.getsource(schema)).body[0].body  # type: ignore[attr-defined]
    texts: dict[str, str] = {}
    for field, text in pairwise(body):
        match field, text:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(meaning))):
                texts[name] = inspect.cleandoc(meaning).replace("``", "'")
    return texts
