"""Every protocol by name, its YAML, and how options are read."""

from __future__ import annotations

from dataclasses import fields
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from franca import assets
from franca.errors import ConfigError
from franca.evaluation.protocols import LABELS, PROTOCOLS, read_options
from franca.features.settings import FeatureSettings, ModelSettings
from tests.evaluation.clusters import clusters

ALL = list(PROTOCOLS)
CLASSIFYING = [name for name, protocol in PROTOCOLS.items() if protocol.needs == LABELS]


@pytest.mark.parametrize("name", ALL)
def test_the_yaml_states_the_defaults(name: str) -> None:
    """Two places hold them, for readers of either; here they are held together."""
    assert read_options([name]).protocols[name] == PROTOCOLS[name].settings()
    text = assets.path("eval", f"{name}.yaml").read_text()
    for option in PROTOCOLS[name].settings.__dataclass_fields__:
        assert f"\n{option}:" in text


def test_every_yaml_has_its_protocol() -> None:
    assert sorted(ALL) == assets.names("eval")


@pytest.mark.parametrize("name", CLASSIFYING)
def test_protocols_run_on_features(name: str) -> None:
    settings = read_options([name], {"epochs": 1} if name == "linear" else {}).protocols[name]
    tables = {"train": clusters(60, seed=0), "val": clusters(30, seed=1)}
    subject: Any = SimpleNamespace(table=tables.__getitem__, device=torch.device("cpu"), should_stop=None)
    result = PROTOCOLS[name].judge(subject, settings)
    assert result.protocol == name
    assert next(iter(result.metrics)).startswith("top1") and all(0 <= value <= 1 for value in result.metrics.values())


def test_a_plain_key_sets_every_protocol_that_has_it() -> None:
    options = read_options(ALL, {"prefixes": True, "linear.epochs": 3, "batch_size": 9, "knn.k": 5})
    knn, linear = options.protocols["knn"], options.protocols["linear"]
    assert knn.prefixes and linear.prefixes
    assert (linear.epochs, knn.k) == (3, 5)


@pytest.mark.parametrize("keys", [("linear.epochs", "epochs"), ("epochs", "linear.epochs")])
def test_a_key_of_one_protocol_counts_more_than_a_plain_one(keys: tuple[str, str]) -> None:
    values = {"linear.epochs": 3, "epochs": 7}
    assert read_options(ALL, {key: values[key] for key in keys}).protocols["linear"].epochs == 3


def test_a_plain_key_never_means_features_and_a_protocol() -> None:
    """Else a batch that fits the memory would change how a probe is trained."""
    common = {option.name for group in (FeatureSettings, ModelSettings) for option in fields(group)}
    for protocol in PROTOCOLS.values():
        assert not common & {option.name for option in fields(protocol.settings)}


def test_features_models_and_drawn_images_have_options() -> None:
    common = read_options(
        ["linear"], {"image_size_px": 56, "pretrained": False, "synthetic.seed": 4, "seed": 7, "features.batch_size": 3}
    )
    assert common.common.features.image_size_px == 56 and common.common.features.batch_size == 3
    assert common.common.model.pretrained is False
    assert (common.common.synthetic.seed, common.protocols["linear"].seed) == (4, 7)


def test_all_problems_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        read_options(["knn", "linear"], {"epoch": 3, "linear.seeds": 1, "temperature": "hot", "precision": "fp8"})
    text = str(caught.value)
    assert "4 problems" in text
    assert "did you mean epochs?" in text and "linear.seed" in text
    assert "knn.temperature" in text and "features.precision" in text


@pytest.mark.parametrize(
    ("names", "said"), [(["kn"], "did you mean knn"), ([""], "no protocol"), (["knn", "knn"], "once")]
)
def test_wrong_names(names: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        read_options(names)
    assert ", ".join(ALL) in str(caught.value)
