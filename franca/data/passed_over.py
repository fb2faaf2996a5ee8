"""Files that a source holds and no sample uses: counted by kind, so that nothing is left out unseen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TypeAlias

PassedOver: TypeAlias = Mapping[str, int]
"""How many files of each kind: an ending such as ``.npy``, ``no ending``, ``hidden``, ``.txt without an image``."""

_MAX_KINDS = 32  # names may hold any number of dots and numbers
_MAX_SHOWN = 5
_OTHERS = "others"


def kind_of(name: str) -> str:
    """The kind of a file that no sample uses, from its path."""
    stem, dot, ending = name.rpartition("/")[2].rpartition(".")
    if not dot:
        return "no ending"
    return f".{ending.lower()}" if stem.strip(".") and not stem.startswith(".") else "hidden"


def total(counts: Iterable[PassedOver]) -> PassedOver:
    """The sum of several, the most frequent kind first; rare kinds are put together where there are too many."""
    whole = Counter[str]()
    for part in counts:
        whole.update(part)
    others = whole.pop(_OTHERS, 0)
    kinds = whole.most_common()
    others += sum(number for _, number in kinds[_MAX_KINDS:])
    return dict(kinds[:_MAX_KINDS]) | ({_OTHERS: others} if others else {})


def in_words(counts: PassedOver) -> str:
    """``12 (.npy 10, no ending 2)``."""
    kinds = [f"{kind} {number:,}" for kind, number in counts.items()]
    more = ", …" if len(kinds) > _MAX_SHOWN else ""
    return f"{sum(counts.values()):,} ({', '.join(kinds[:_MAX_SHOWN])}{more})"
