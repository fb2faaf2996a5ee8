"""The report of a run: what was trained, how it went, what the patches look like."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from html import escape
from pathlib import Path

from franca.config.recipes import load_recipe
from franca.config.schema import Config
from franca.data.sample import BadSample, Sample, Source
from franca.data.sources import open_training_source
from franca.errors import DataError
from franca.models.weights import load_backbone
from franca.report.curves import has_health, health_figure, loss_figure
from franca.report.metrics import read_metrics
from franca.report.page import Section, picture, table, write_page
from franca.report.pca import pca_figure
from franca.train.alarms import begun

NUM_PICTURES = 8


def write_run_report(run: Path, scores: Sequence[Section] = ()) -> Path:
    """Write ``run/report.html``.

    Args:
        run: a run folder that has logged at least one step.
        scores: sections that go before the pictures.

    Returns:
        The path of the report.

    Raises:
        DataError: the folder is no run, or has logged nothing yet.
    """
    records = read_metrics(run)
    config = load_recipe(str(run / "config.yaml"), need_data=False)
    last = records[-1]
    facts = {
        "command": _last_command(run),
        "steps": f"{last['step']:,.0f} of {config.train.steps:,}",
        "images seen": f"{last['images']:,.0f}",
        "total loss": f"{last['loss/total']:.4f}",
        "speed": f"{last['images_per_second']:.0f} images/s, {last['data_wait_fraction']:.0%} of it waiting for data",
        "unreadable samples replaced": f"{last.get('data/skipped', 0):,.0f}",
        "steps skipped": f"{last.get('steps_skipped', 0):,.0f}",
        "alarms": ", ".join(f"{one.name} since step {line[one.key]:,.0f}" for line, one in begun(records)) or "none",
    }
    sections = [Section("Run", table(facts)), *scores, Section("Loss", picture(loss_figure(records)))]
    if has_health(records):
        sections.append(Section("Health", picture(health_figure(records))))
    sections.append(Section("Patch features, first three principal components", _patch_picture(run, config)))
    path = run / "report.html"
    write_page(path, f"franca: {run.name}", sections)
    return path


def _last_command(run: Path) -> str:
    path = run / "command.txt"
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return lines[-1] if lines else "not recorded"


def _patch_picture(run: Path, config: Config) -> str:
    """The teacher's view of a few images of the run's source; a sentence where either is gone."""
    export = run / "exports" / "teacher.safetensors"
    if not export.is_file():
        return f"<p>No teacher has been exported to {export} yet.</p>"
    try:
        source = open_training_source(config.data, config.performance, split="val")
    except DataError as error:
        return f"<p>The images are not there: {escape(str(error))}</p>"
    images = [sample.image for sample in _some_samples(source)]
    if not images:
        return f"<p>None of the images tried in {escape(source.location)} can be read.</p>"
    return picture(pca_figure(load_backbone(export), images))


def _some_samples(source: Source) -> list[Sample]:
    """Readable samples spread over the whole source: every second place first, then those between."""
    places = [*range(0, 2 * NUM_PICTURES, 2), *range(1, 2 * NUM_PICTURES, 2)]
    samples = []
    for place in places:
        with suppress(BadSample):
            samples.append(source.read(place * len(source) // len(places)))
    return samples[:NUM_PICTURES]
