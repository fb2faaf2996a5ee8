"""The page "When something goes wrong" quotes what the code says, and names metrics and options that exist."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from franca.config.explain import explanations
from franca.train.alarms import ALARMS

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/trouble.md").read_text(encoding="utf-8")
SEEN = re.findall(r"^\| `([^`]+)` \|[^|]*\|[^|]*\|$", PAGE, flags=re.MULTILINE)


@cache
def said() -> str:
    """All texts in the code, one a line."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in (ROOT / "franca").rglob("*.py")]
    nodes = (node for tree in trees for node in ast.walk(tree))
    return "\n".join(node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str))


def test_the_page_has_rows() -> None:
    assert len(SEEN) > 25


@pytest.mark.parametrize("message", [text for text in SEEN if not text.startswith("rank 3") and "/" not in text])
def test_messages_are_those_of_the_code(message: str) -> None:
    missing = [part for part in map(str.strip, message.split("…")) if part not in said()]
    assert missing == []


def test_options_exist() -> None:
    named = set(re.findall(r"`((?:data|model|objective|optim|train|init|run|performance)\.\w+)", PAGE))
    assert len(named) > 10 and named <= {explanation.key for explanation in explanations()}


def test_thresholds_on_the_page_are_those_of_the_alarms() -> None:
    limits = {"loss_at_ln_k": 0.995, "constant_teacher": 0.01, "certain_teacher": 0.01}
    limits |= {"uniform_teacher": 0.995, "dead_prototypes": 0.1}
    for alarm in ALARMS:
        section = PAGE.split(f"### Alarm `{alarm.name}`")[1].split("#")[0]
        limit = limits[alarm.name]
        assert str(limit) in section
        assert alarm.is_bad(limit - 1e-6) != alarm.is_bad(limit + 1e-6), "the limit is here"
