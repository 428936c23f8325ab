"""What an edit rebuilds: all that it can change and nothing else. One finished run, dry runs after it."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.snakemake_runs import TINY, copy_checkout, scheduled, snakemake

FIGURES = dict.fromkeys(["draw_recovery", "draw_training", "draw_twist", "draw_two_models"], 1)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A checkout and the folder with its finished results."""
    folder = tmp_path_factory.mktemp("staleness")
    checkout, run = copy_checkout(folder / "checkout"), folder / "run"
    done = snakemake(checkout, run, "--cores", 2)
    assert done.code == 0, done.out + done.err
    return checkout, run


@contextlib.contextmanager
def edited(file: Path, text: str) -> Iterator[None]:
    """``file`` with another text, and as it was afterwards."""
    before = file.read_text(encoding="utf-8")
    assert text != before
    file.write_text(text, encoding="utf-8")
    try:
        yield
    finally:
        file.write_text(before, encoding="utf-8")


def with_code(file: Path) -> str:
    return file.read_text(encoding="utf-8") + "\n_A_CONSTANT = 1\n"


def test_a_comment_rebuilds_nothing(finished):
    checkout, run = finished
    file = checkout / "cdgm/models/comparative_vae.py"
    with edited(file, "# A note.\n" + file.read_text(encoding="utf-8") + "\n# And another.\n"):
        assert scheduled(checkout, run) == {}


def test_a_model_s_code_rebuilds_fits_and_what_follows_but_no_simulation(finished):
    checkout, run = finished
    file = checkout / "cdgm/models/comparative_vae.py"
    with edited(file, with_code(file)):
        assert scheduled(checkout, run) == {"fit": 3, "evaluate": 3, "summarise": 1} | FIGURES


def test_a_figure_s_code_rebuilds_that_figure(finished):
    checkout, run = finished
    file = checkout / "cdgm/plotting/twist.py"
    with edited(file, with_code(file)):
        assert scheduled(checkout, run) == {"draw_twist": 1}


def test_an_edited_plug_in_rebuilds_what_names_it(finished):
    checkout, run = finished
    file = checkout / "cdgm/synthetic/mixings/linear.py"
    with edited(file, with_code(file)):
        found = scheduled(checkout, run)
    # The two settings with a leaky ReLU keep their data and their fits.
    assert found == {"simulate": 1, "fit": 1, "evaluate": 1, "summarise": 1} | FIGURES


def test_a_value_of_one_setting_rebuilds_that_setting_and_the_summaries(finished):
    checkout, run = finished
    file = checkout / TINY
    text = file.read_text(encoding="utf-8")
    changed = text.replace(
        "{mixing: {kind: linear}}", "{mixing: {kind: linear}, noise: {kind: gaussian, sd: 0.2}}"
    )
    with edited(file, changed):
        assert (
            scheduled(checkout, run)
            == {
                "simulate": 1,
                "fit": 1,
                "evaluate": 1,
                "summarise": 1,
            }
            | FIGURES
        )


def test_touching_every_file_rebuilds_nothing(finished):
    checkout, run = finished
    for folder in (checkout, run / "results"):
        # Sorted, so that some inputs become newer than what was made from them.
        for file in sorted(folder.rglob("*"), reverse=True):
            if file.is_file():
                os.utime(file)
    assert scheduled(checkout, run) == {}


def test_a_fresh_checkout_with_the_results_carried_over_rebuilds_nothing(finished, tmp_path):
    _, run = finished
    shutil.copytree(run, tmp_path / "run")
    assert scheduled(copy_checkout(tmp_path / "clone"), tmp_path / "run") == {}
