from __future__ import annotations

import pytest

from franca.config.architectures import ARCHITECTURES, aliases


@pytest.mark.parametrize(("alias", "name"), [("s", "vit_small"), ("ti", "vit_tiny"), ("vitb", "vit_base"),
                                             ("large", "vit_large"), ("vit_g", "vit_giant")])  # fmt: skip
def test_short_names(alias: str, name: str) -> None:
    assert aliases()[alias] == name


def test_no_alias_hides_a_name() -> None:
    short = aliases()
    assert all(short.get(name, name) == name for name in ARCHITECTURES)
    assert set(short.values()) == set(ARCHITECTURES)
