"""What an edit rebuilds: all that it can change and nothing else.

One finished tiny run; then, for each edit, a dry run on copies of the checkout and the results in another
place, with times of files that say nothing. The table in docs/extending.md states the same for people.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.snakemake_runs import TINY, command, copy_checkout, scheduled, snakemake

FIGURES = dict.fromkeys(["draw_recovery", "draw_training", "draw_twist", "draw_two_models"], 1)
INDEX = {"index": 1}
JUDGE = {"judge": 1} | INDEX
CLAIMS = {"write_claims": 1} | JUDGE
TABLES = {"summarise": 1} | FIGURES | JUDGE
SCORES = {"evaluate": 3} | TABLES
FITS = {"fit": 3} | SCORES
# The tiny study has a ceiling for one of its simulations.
CEILING = {"ceiling": 1}
ALL = {"simulate": 2} | CEILING | FITS
# One of the three settings: the two others share another simulation.
ONE_SETTING = {"simulate": 1, "fit": 1, "evaluate": 1} | TABLES
NOTHING: dict[str, int] = {}

RAW = "results/downloads/mine/raw"
Change = Callable[[str], str]


@dataclass(frozen=True)
class Edit:
    """A file, what is done to its text, and the jobs that this makes stale."""

    file: str
    change: Change
    stale: dict[str, int]


def constant(text: str) -> str:
    """Any change of code will do: what is asked is who depends on it."""
    return text + "\n_A_CONSTANT = 1\n"


def comment(text: str) -> str:
    return "# A note.\n" + text + "\n# And another.\n"


def docstring(text: str) -> str:
    assert text.startswith('"""')
    return text.replace('"""', '"""Said otherwise. ', 1)


def replaced(old: str, new: str) -> Change:
    def change(text: str) -> str:
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times"
        return text.replace(old, new)

    return change


def seeds(text: str) -> str:
    return replaced("count: 2, per_job: 2", "count: 4, per_job: 2")(text)


EDITS = {
    # What says something and does nothing.
    "a comment": Edit("cdgm/models/comparative_vae.py", comment, NOTHING),
    "a docstring": Edit("cdgm/training.py", docstring, NOTHING),
    "a caption": Edit("report/recovery.rst", comment, INDEX),
    "a caption of another target": Edit("report/cells.rst", comment, NOTHING),
    "how errors are told": Edit("cdgm/errors.py", constant, NOTHING),
    "what is recorded of a run": Edit("cdgm/provenance.py", constant, NOTHING),
    "the expansion of the configuration": Edit("cdgm/plan.py", constant, NOTHING),
    "the profile": Edit("profiles/default/config.yaml", comment, NOTHING),
    # Libraries are recorded beside each result; see the test of provenance below.
    "a version in the lock": Edit(
        "requirements.lock", replaced(f"numpy=={version('numpy')}", "numpy==2.0.0"), NOTHING
    ),
    # A constant in a module of each kind.
    "the simulation": Edit("cdgm/synthetic/simulate.py", constant, ALL),
    "a mixing": Edit("cdgm/synthetic/mixings/linear.py", constant, CEILING | ONE_SETTING),
    "a mixing that is not used": Edit("cdgm/synthetic/mixings/near_linear.py", constant, NOTHING),
    "the model's core": Edit("cdgm/models/comparative_vae.py", constant, FITS),
    "the training": Edit("cdgm/training.py", constant, FITS),
    "a likelihood": Edit("cdgm/models/likelihoods/gaussian.py", constant, FITS),
    "a likelihood that is not used": Edit("cdgm/models/likelihoods/negative_binomial.py", constant, NOTHING),
    "a combiner": Edit("cdgm/objectives/combiners/sum.py", constant, FITS),
    "a metric": Edit("cdgm/metrics/recovery.py", constant, CEILING | SCORES),
    "the tables": Edit("cdgm/tables.py", constant, TABLES),
    "a figure": Edit("cdgm/plotting/twist.py", constant, {"draw_twist": 1}),
    "the style of figures": Edit("cdgm/plotting/style.py", constant, FIGURES),
    "reading of cells": Edit("cdgm/data/preprocess.py", constant, NOTHING),
    "a download": Edit("cdgm/data/downloads/local.py", constant, {"fetch": 1}),
    "how claims are judged": Edit("cdgm/claim_numbers.py", constant, JUDGE),
    "the page of claims": Edit("cdgm/pages/intervals.py", constant, JUDGE),
    "the first page": Edit("cdgm/pages/index.py", constant, INDEX),
    "what is checked of claims": Edit("cdgm/claims_check.py", constant, NOTHING),
    # Command lines and rules.
    "a command line": Edit("workflow_scripts/summarise.py", constant, TABLES),
    "a comment in a command line": Edit("workflow_scripts/fit.py", comment, NOTHING),
    "the text of a rule": Edit(
        "rules/fit.smk", replaced("--threads {threads}", "--threads  {threads}"), FITS
    ),
    "a comment in a rule": Edit("rules/fit.smk", comment, NOTHING),
    "the memory of a rule": Edit("rules/fit.smk", replaced("int(1500 +", "int(1600 +"), NOTHING),
    # The configuration.
    "a value of one setting": Edit(
        TINY,
        replaced("{mixing: {kind: linear}}", "{mixing: {kind: linear}, noise: {kind: gaussian, sd: 0.2}}"),
        CEILING | ONE_SETTING,
    ),
    "a value of another study": Edit(
        "config.yaml",
        replaced("link: softmax, dispersion: learned}", "link: softmax, dispersion: 2}"),
        NOTHING,
    ),
    "the words of a claim": Edit(TINY, replaced("hold nothing of", "hold little of"), CLAIMS),
    "the value of a claim": Edit(TINY, replaced("value: 0.5", "value: 0.6"), CLAIMS),
    "why a claim is not run": Edit(
        TINY, replaced("identifiability: {target: none}", "identifiability: {target: atlas}"), CLAIMS
    ),
    "a claim that is taken away": Edit(
        TINY,
        lambda text: (
            replaced("  tiny_elsewhere:\n", "  tiny_elsewhere: null\n  x:\n")(text).split("  x:\n")[0]
            + text[text.index("downloads:") :]
        ),
        CLAIMS,
    ),
    "how scores are made": Edit(TINY, replaced("null_draws: 10", "null_draws: 12"), CEILING | SCORES),
    "an added variant": Edit(
        TINY,
        lambda text: (
            replaced("[cvae]", "[cvae, again]")(text)
            + "variants: {again: {combiner: {kind: size_weighted}}}\n"
        ),
        FITS,
    ),
    "an added block of seeds": Edit(TINY, seeds, ALL),
    "a checksum": Edit(
        TINY, lambda text: re.sub(r"sha256: '?\w{64}'?", "sha256: '" + "0" * 64 + "'", text), {"fetch": 1}
    ),
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A checkout whose tiny study also has a download, and the folder with the finished results."""
    folder = tmp_path_factory.mktemp("staleness")
    checkout, run = copy_checkout(folder / "checkout"), folder / "run"
    data = folder / "mine.bin"
    data.write_bytes(b"cells")
    entry = {"kind": "local", "path": str(data), "filename": "mine.bin"}
    entry["sha256"] = hashlib.sha256(data.read_bytes()).hexdigest()
    text = ", ".join(f"{key}: {value}" for key, value in entry.items())
    with (checkout / TINY).open("a", encoding="utf-8") as file:
        file.write(f"downloads: {{mine: {{{text}}}}}\n")
    done = snakemake(checkout, run, "all", RAW, "--cores", 2)
    assert done.code == 0, done.out + done.err
    return checkout, run


def stale(checkout: Path, run: Path) -> dict[str, int]:
    return scheduled(checkout, run, "all", RAW)


def moved(finished: tuple[Path, Path], folder: Path) -> tuple[Path, Path]:
    """The checkout and the results in another place, all files with the time of the copy."""
    for source in finished:
        shutil.copytree(source, folder / source.name, copy_function=shutil.copyfile)
    return folder / finished[0].name, folder / finished[1].name


def after(edit: Edit, finished: tuple[Path, Path], folder: Path) -> dict[str, int]:
    checkout, run = moved(finished, folder)
    file = checkout / edit.file
    before = file.read_text(encoding="utf-8")
    text = edit.change(before)
    assert text != before
    file.write_text(text, encoding="utf-8")
    found = stale(checkout, run)
    shutil.rmtree(folder)
    return found


@pytest.fixture(scope="module")
def outcomes(
    finished: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Future[dict[str, int]]]:
    """The jobs that each edit makes stale; the dry runs go side by side."""
    folder = tmp_path_factory.mktemp("edits")
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return {
            name: pool.submit(after, edit, finished, folder / name.replace(" ", "_"))
            for name, edit in EDITS.items()
        }


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_makes_stale_what_it_can_change(name: str, outcomes: dict[str, Future[dict[str, int]]]):
    assert outcomes[name].result() == EDITS[name].stale


def test_a_checkout_and_results_in_another_place_are_not_stale(finished, tmp_path):
    assert stale(*moved(finished, tmp_path)) == NOTHING


def test_touching_every_file_makes_nothing_stale(finished, tmp_path):
    checkout, run = moved(finished, tmp_path)
    for folder in (checkout, run / "results"):
        # Sorted, so that some inputs become newer than what was made from them.
        for file in sorted(folder.rglob("*"), reverse=True):
            if file.is_file():
                os.utime(file)
    assert stale(checkout, run) == NOTHING


def test_a_new_plug_in_with_its_line_makes_nothing_stale(finished, tmp_path):
    checkout, run = moved(finished, tmp_path)
    folder = checkout / "cdgm/synthetic/mixings"
    text = (folder / "linear.py").read_text(encoding="utf-8")
    (folder / "another.py").write_text(text.replace('"linear"', '"another"'), encoding="utf-8")
    registry, line = folder / "__init__.py", '        "another": "cdgm.synthetic.mixings.another:Linear",\n'
    head, table = registry.read_text(encoding="utf-8").split('        "linear"')
    registry.write_text(head + line + '        "linear"' + table, encoding="utf-8")
    assert stale(checkout, run) == NOTHING
    # It is there: a setting with it is one more of everything, and the others stay.
    config = checkout / TINY
    text = config.read_text(encoding="utf-8")
    setting = "      another:\n        simulation: {mixing: {kind: another}}\n      linear:\n"
    config.write_text(replaced("      linear:\n", setting)(text), encoding="utf-8")
    assert stale(checkout, run) == ONE_SETTING


def test_versions_of_libraries_are_recorded_beside_each_result(finished):
    _, run = finished
    records = list((run / "results").rglob("provenance.json"))
    # Two simulations, three fits with their scores, and a download.
    assert len(records) == 2 + 3 + 3 + 1
    for file in records:
        recorded = json.loads(file.read_text(encoding="utf-8"))["versions"]
        assert {name: version(name) for name in ("torch", "numpy", "pandas")}.items() <= recorded.items()


def test_edited_data_of_this_machine_are_copied_again(finished, tmp_path):
    checkout, run = moved(finished, tmp_path)
    data = finished[1].parent / "mine.bin"
    before = data.read_bytes()
    try:
        data.write_bytes(b"other cells")
        assert stale(checkout, run) == {"fetch": 1}
    finally:
        data.write_bytes(before)


def test_git_history_makes_nothing_stale(finished, tmp_path):
    checkout, run = moved(finished, tmp_path)
    user = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main")
    for step in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "a commit"]):
        done = command("git", *user, *step, cwd=checkout)
        assert done.code == 0, done.err
    assert stale(checkout, run) == NOTHING
