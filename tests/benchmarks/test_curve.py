"""The benchmark of training curves: what it compares, and that a curve off the band is told."""

from __future__ import annotations

import json

import pytest

from benchmarks import curve


def test_distances_are_between_averages_over_windows() -> None:
    found = curve.distance({"loss/total": [1.0, 3.0, 3.0]}, {"loss/total": [2.0, 2.0, 2.0]}, window=2)
    assert found == {"loss/total": {"largest": pytest.approx(0.5), "mean": pytest.approx(0.25)}}


def test_losses_are_read_from_the_rows_of_training() -> None:
    rows = [{"step": 0, "data": 1}, {"step": 1, "loss/total": 3.0, "lr": 1.0}, {"step": 2, "loss/total": 2.0}]
    assert curve.losses("\n".join(map(json.dumps, rows))) == {"loss/total": [3.0, 2.0]}


def test_a_way_that_does_not_exist(tmp_path) -> None:
    with pytest.raises(SystemExit, match="names fast; after the precision come compile and fsdp"):
        curve.settings("bf16+fast", tmp_path)


TINY = ("data.global_size_px=16", "data.local_size_px=8", "train.global_batch=8", "model.width=32", "model.depth=1")


@pytest.mark.parametrize(("band", "status"), [("0.2", 0), ("0.05", 1)])
def test_the_band_decides(band: str, status: int, monkeypatch) -> None:
    totals = {"fp32": [1.0, 1.0], "bf16": [1.0, 1.1]}
    monkeypatch.setattr(curve, "train", lambda *given: {"seconds": 1.0, "curve": {"loss/total": totals[given[2]]}})
    monkeypatch.setattr("sys.argv", ["curve", "demo", "--ways", "fp32,bf16", "--window", "1", "--band", band])
    with pytest.raises(SystemExit) as stopped:
        curve.main()
    assert stopped.value.code == status


def test_bf16_of_a_real_run(tmp_path) -> None:
    overrides = ["train.steps=3", "performance.workers=0", *TINY]
    exact, rounded = (curve.train("demo", overrides, way, tmp_path / way)["curve"] for way in ("fp32", "bf16"))
    assert len(exact["loss/total"]) == 3
    assert 0 < curve.distance(rounded, exact, window=1)["loss/total"]["largest"] < 0.5
