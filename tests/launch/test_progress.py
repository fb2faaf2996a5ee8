from __future__ import annotations

import json
from pathlib import Path

import pytest

from franca.config.recipes import load_recipe, to_yaml
from franca.errors import DataError
from franca.launch.progress import Progress, read_progress


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of 100 steps of 8 images that has not logged yet."""
    (tmp_path / "config.yaml").write_text(to_yaml(load_recipe("tiny", ["train.steps=100"])))
    return tmp_path


def log(run: Path, *records: dict[str, float], end: str = "") -> None:
    lines = [json.dumps({"images_per_second": 4.0} | record) for record in records]
    (run / "metrics.jsonl").write_text("\n".join(lines) + "\n" + end)


def test_before_the_first_line_nothing_is_known(run: Path) -> None:
    assert read_progress(run) == Progress(step=0, num_steps=100)


def test_the_time_to_go_follows_from_the_newest_speed(run: Path) -> None:
    log(run, {"step": 10, "images_per_second": 1.0}, {"step": 25})
    progress = read_progress(run)
    assert (progress.step, progress.images_per_second, progress.seconds_to_go) == (25, 4.0, 75 * 8 / 4.0)
    assert not progress.is_finished and progress.alarm == ""


def test_a_line_that_is_being_written_is_not_read(run: Path) -> None:
    log(run, {"step": 10}, end='{"step": 2')
    assert read_progress(run).step == 10


def test_the_last_alarm_is_the_count_that_grew_last(run: Path) -> None:
    log(
        run,
        {"step": 1, "steps_skipped": 1},
        {"step": 2, "steps_skipped": 1, "data/skipped": 7},
        {"step": 3, "steps_skipped": 1, "data/skipped": 7},
    )
    assert read_progress(run).alarm == "step 2: 7 unreadable samples replaced"
    log(run, {"step": 1, "data/skipped": 7}, {"step": 9, "data/skipped": 7, "steps_skipped": 2})
    assert read_progress(run).alarm == "step 9: 2 steps not finite, not applied"


def test_an_alarm_shows_with_the_step_since_which_it_rings(run: Path) -> None:
    log(run, {"step": 1, "data/skipped": 7}, *({"step": step, "alarm/constant_teacher": 2} for step in (4, 5)))
    assert read_progress(run).alarm == "step 2: the teacher gives all images the same features (constant_teacher)"
    log(run, {"step": 4, "alarm/constant_teacher": 2}, {"step": 5, "steps_skipped": 1})
    assert read_progress(run).alarm == "step 5: 1 steps not finite, not applied"


def test_an_alarm_that_is_over_says_so(run: Path) -> None:
    rings = [{"step": step, "alarm/dead_prototypes": 2} for step in (4, 5)]
    over = "step 2: nine prototypes in ten are nobody's first choice (dead_prototypes), over at step 6"
    log(run, *rings, {"step": 6}, {"step": 7})
    assert read_progress(run).alarm == over
    log(run, *rings, {"step": 6}, {"step": 7, "alarm/constant_teacher": 6})
    assert read_progress(run).alarm == "step 6: the teacher gives all images the same features (constant_teacher)"
    log(run, rings[0], {"step": 5, "alarm/dead_prototypes": 2, "steps_skipped": 1}, {"step": 6, "steps_skipped": 1})
    assert read_progress(run).alarm == "step 5: 1 steps not finite, not applied"


def test_only_the_end_of_a_long_file_is_read(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("franca.launch.progress._TAIL_BYTES", 100)
    log(run, *({"step": step} for step in range(1, 101)))
    progress = read_progress(run)
    assert progress.step == 100 and progress.is_finished


def test_a_folder_that_holds_no_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is no run folder"):
        read_progress(tmp_path)


def test_a_run_of_another_version_is_read_all_the_same(run: Path) -> None:
    config = run / "config.yaml"
    config.write_text(config.read_text() + "gone: {option: 1}\n")
    assert read_progress(run).num_steps == 100


@pytest.mark.parametrize("text", ["", "train: {steps: 5}", "train: [", "train: {steps: many, global_batch: 8}"])
def test_a_damaged_configuration_is_named(text: str, run: Path) -> None:
    (run / "config.yaml").write_text(text)
    with pytest.raises(DataError, match=r"config\.yaml is damaged"):
        read_progress(run)
