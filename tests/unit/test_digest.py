"""Which edits change which code digest."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from cdgm.workflow import code_digest as digest
from tests.unit.builders import fit_spec

ROOT = Path(__file__).parents[2]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for folder in ("cdgm", "workflow_scripts"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def digests(root: Path) -> dict[str, str]:
    found = {s: digest.code_digest(root / "workflow_scripts" / f"{s}.py") for s in ("simulate", "fit")}
    plug_ins = sorted(digest.plugin_modules(fit_spec()))
    return found | {"fit of a spec": digest.code_digest(root / "workflow_scripts/fit.py", plug_ins)}


def changed(root: Path, file: str, edit) -> set[str]:
    before = digests(root)
    path = root / file
    path.write_text(edit(path.read_text(encoding="utf-8")), encoding="utf-8")
    after = digests(root)
    return {name for name in before if before[name] != after[name]}


MODEL = "cdgm/models/comparative_vae.py"


@pytest.mark.parametrize(
    "edit",
    [lambda t: "# note\n" + t, lambda t: t.replace("\n\n\n", "\n\n\n\n\n"), lambda t: '"""Other."""\n' + t],
    ids=["comment", "blank lines", "docstring"],
)
def test_words_and_layout_do_not_count(root, edit):
    assert changed(root, MODEL, edit) == set()


def test_a_constant_of_the_model_changes_fits_and_no_simulation(root):
    edit = lambda t: t.replace("LOG_VARIANCE_RANGE = (-14.0,", "LOG_VARIANCE_RANGE = (-13.0,")  # noqa: E731
    assert changed(root, MODEL, edit) == {"fit", "fit of a spec"}


def test_provenance_changes_nothing(root):
    assert changed(root, "cdgm/utils/provenance.py", lambda t: t + "\nX = 1\n") == set()


def test_an_edited_plug_in_changes_what_names_it(root):
    edit = lambda t: t + "\nX = 1\n"  # noqa: E731
    assert changed(root, "cdgm/models/likelihoods/gaussian.py", edit) == {"fit of a spec"}


def test_a_new_plug_in_changes_nothing(root):
    (root / "cdgm/models/likelihoods/new.py").write_text("X = 1\n", encoding="utf-8")

    def edit(text: str) -> str:
        line = '"new": "cdgm.models.likelihoods.new:New",'
        return text.replace('"gaussian":', line + ' "gaussian":')

    assert changed(root, "cdgm/models/likelihoods/__init__.py", edit) == set()
