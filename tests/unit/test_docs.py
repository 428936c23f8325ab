"""The examples of the documentation work, and its tables name what there is."""

from __future__ import annotations

import importlib.util
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from cdgm.claims.check import check_claims
from cdgm.claims.judge import CLAIM_COLUMNS
from cdgm.claims.scope import not_run
from cdgm.config.claim import AnyOf, Claim, Condition, Selector
from cdgm.config.design import Design
from cdgm.config.fit import ModelSpec, TrainingSpec
from cdgm.config.layers import merge
from cdgm.config.simulation import Simulation
from cdgm.config.study import parse_config
from cdgm.figures import FIGURES
from cdgm.objectives.penalties import PENALTIES
from cdgm.simulation.mixings import MIXINGS
from cdgm.simulation.simulate import simulate
from cdgm.training.loop import train
from cdgm.workflow.benchmarks import COLUMNS
from cdgm.workflow.code_digest import code_digest
from cdgm.workflow.plan import expand
from tests.guide import DOCS, ROOT, blocks
from tests.snakemake_runs import EXEMPT_FOLDERS, EXEMPT_NAMES
from tests.unit.builders import CONTRASTIVE, fit_spec, observations

BASE = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))


def overlays(page: str) -> list[dict]:
    """Blocks that are marked as overlays."""
    return [yaml.safe_load(b) for b in blocks(DOCS / page, "yaml") if b.startswith("# overlay\n")]


def plan_of(overlay: dict):
    return expand(parse_config(merge(BASE, overlay)))


OVERLAYS = [*overlays("config.md"), *overlays("reproducing.md")]


@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda o: "-".join(o))
def test_overlays_of_the_guide_are_valid(overlay):
    assert plan_of(overlay).fits


def test_the_guide_has_its_examples():
    (levels,) = (o for o in overlays("config.md") if "variants" in o)
    twenty, others, small, mine = (o for o in overlays("config.md") if not {"variants", "claims"} & set(o))
    assert len(parse_config(merge(BASE, levels)).variants["co-levels"].points()) == 4
    base, more = plan_of({}), plan_of(twenty)
    # As the guide says: what exists is used again.
    assert set(base.fits) < set(more.fits)
    assert set(base.simulations) < set(more.simulations)
    seeds = {s for row in plan_of(others).studies["identifiability"] for s in _seeds(plan_of(others), row)}
    assert seeds == {500, 501, 502, 503}
    assert all(len(_seeds(plan_of(small), row)) == 2 for row in plan_of(small).studies["identifiability"])
    config = parse_config(merge(BASE, mine))
    assert config.datasets["mine"].reader.sources == {"background": ("control",), "target": "rest"}
    assert [row.dataset for row in plan_of(mine).studies["mine"]] == ["mine"]


def test_own_cells_join_the_study_of_perturbations():
    (joined,) = (
        yaml.safe_load(b)
        for b in blocks(DOCS / "config.md", "yaml")
        if b.startswith("# in place of studies: mine")
    )
    (mine,) = (o for o in overlays("config.md") if "downloads" in o)
    rows = plan_of({**mine, **joined}).studies["perturbation"]
    ours = [row for row in rows if row.dataset == "mine"]
    assert {row.dataset for row in rows} == {"immune_spikein", "mine"}
    assert 2 * len(ours) == len(rows)


def _seeds(plan, row):
    return plan.fits[plan.evaluations[row.evaluation].fit].spec.seeds


def install(example: int, registry, tmp_path, monkeypatch):
    """A worked example as a module and a line of the registry: its texts."""
    module, line = blocks(DOCS / "extending.md", "python")[2 * example : 2 * example + 2]
    ((kind, place),) = re.findall(r'^"(\w+)": "([\w.:]+)",$', line, re.MULTILINE)
    name = place.partition(":")[0]
    file = tmp_path / "example.py"
    file.write_text(module, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(name, file)
    loaded = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, loaded)
    spec.loader.exec_module(loaded)
    monkeypatch.setitem(registry._entries, kind, place)
    return module, line


@pytest.fixture
def new_mixing(tmp_path, monkeypatch):
    """The worked example of a mixing."""
    return install(0, MIXINGS, tmp_path, monkeypatch)


@pytest.fixture
def new_penalty(tmp_path, monkeypatch):
    """The worked example of a penalty."""
    return install(1, PENALTIES, tmp_path, monkeypatch)


def test_the_worked_example_simulates(new_mixing):
    overlay = overlays("extending.md")[0]
    base, plan = plan_of({}), plan_of(overlay)
    new = [plan.simulations[i] for i in set(plan.simulations) - set(base.simulations)]
    assert len(new) == 1
    assert len(set(plan.fits) - set(base.fits)) == 1
    assert set(base.fits) < set(plan.fits)
    sizes = {"background": 40, "target": 60}
    small = new[0].spec.model_copy(update={"n_train": sizes, "n_test": sizes})
    arrays = simulate(small, seeds=[3], root=1)
    assert arrays["x/train/target"].shape == (1, 60, small.n_features)
    assert np.isfinite(arrays["x/train/target"]).all()


def test_the_worked_example_is_piecewise_affine_with_kinks_off_the_origin(new_mixing):
    mixing = MIXINGS.parse({"kind": "shifted_leaky_relu", "slope": 0.2, "width": 8, "shift": 1.0})
    mix = mixing.draw(np.random.default_rng(0), 3, 10)
    line = np.linspace(-4, 4, 801)[:, None] * np.array([0.5, -0.3, 0.8])
    bends = np.abs(np.diff(mix({"u": line}), n=2, axis=0)).max(axis=1)
    kinks = np.flatnonzero(bends > 1e-9)
    # One kink a hidden unit at most, seen by at most two of the second differences.
    assert 0 < len(kinks) <= 16
    assert any(abs(k - 399) > 5 for k in kinks)


def assert_nothing_stale(folder: str, file: str, before_line: str, example, used, tmp_path):
    """The module and its line leave all digests of command lines as they are."""
    module, line = example
    before, after = tmp_path / "before", tmp_path / "after"
    for place in (before, after):
        for part in ("cdgm", "workflow_scripts"):
            shutil.copytree(ROOT / part, place / part, ignore=shutil.ignore_patterns("__pycache__"))
    plugins = after / "cdgm" / folder
    (plugins / file).write_text(module, encoding="utf-8")
    table = (plugins / "__init__.py").read_text(encoding="utf-8")
    edited = table.replace(f"        {before_line}", f"        {line.strip()}\n        {before_line}")
    assert edited != table
    (plugins / "__init__.py").write_text(edited, encoding="utf-8")
    for script in sorted(p.name for p in (ROOT / "workflow_scripts").glob("*.py")):
        digests = {code_digest(place / "workflow_scripts" / script, used) for place in (before, after)}
        assert len(digests) == 1, script


def test_the_worked_example_makes_nothing_stale(new_mixing, tmp_path):
    used = ["cdgm.simulation.mixings.leaky_relu", "cdgm.simulation.noises.gaussian"]
    assert_nothing_stale("synthetic/mixings", "shifted.py", '"linear":', new_mixing, used, tmp_path)


def test_the_new_penalty_makes_nothing_stale(new_penalty, tmp_path):
    used = ["cdgm.objectives.penalties.hsic", "cdgm.objectives.combiners.sum"]
    assert_nothing_stale("objectives/penalties", "gaussian_tc.py", '"hsic":', new_penalty, used, tmp_path)


def test_the_new_penalty_adds_a_stack_a_data_set(new_penalty):
    overlay = overlays("extending.md")[1]
    base, plan = plan_of({}), plan_of(overlay)
    assert set(base.fits) < set(plan.fits)
    new = [plan.fits[i].spec for i in set(plan.fits) - set(base.fits)]
    assert {spec.dataset for spec in new} == {"immune_spikein_hard"}
    assert [len(spec.members) for spec in new] == [15]
    assert {member.point for member in new[0].members} == {f"gaussian_tc.weight={w}" for w in (1, 10, 100)}


def test_the_new_penalty_is_the_total_correlation_of_gaussians(new_penalty):
    from cdgm.models.comparative_vae import Posterior

    penalty = PENALTIES.parse({"kind": "gaussian_tc", "ridge": 1e-9})
    design = Design.model_validate(CONTRASTIVE)
    rng = np.random.default_rng(0)
    members, rho = 3, 0.8
    z = rng.standard_normal((members, 4000, 2))
    t = np.concatenate(
        [rho * z[..., :1] + np.sqrt(1 - rho**2) * z[..., 1:], rng.random((members, 4000, 1))], -1
    )
    means = {("background", "background"): z, ("target", "background"): z[..., :1], ("target", "salient"): t}

    def value(**scale):
        return penalty.measure(
            {
                key: Posterior(torch.from_numpy(m * scale.get(key[1], 1.0)), None, None)
                for key, m in means.items()
            },
            design,
        ).numpy()

    found = value()
    for member in range(members):
        # All correlation is between the shared block and one direction of the other.
        rest = np.linalg.lstsq(
            t[member] - t[member].mean(0), z[member, :, 0] - z[member, :, 0].mean(), rcond=None
        )
        explained = 1 - rest[1][0] / (len(z[member]) * z[member, :, 0].var())
        assert found[member] == pytest.approx(-0.5 * np.log(1 - explained), rel=1e-6)
    assert found == pytest.approx(-0.5 * np.log(1 - rho**2), rel=0.1)
    np.testing.assert_allclose(value(salient=7.0), found, rtol=1e-6)


@pytest.mark.slow
def test_the_new_penalty_trains(new_penalty):
    options = {"kind": "gaussian_tc", "ridge": 0.001, "weight": [0, 100]}
    training = {"steps": 150, "batch_size": 100}
    spec = fit_spec((0, 1), training=training, variant={"combiner": {"kind": "sum"}, "penalties": [options]})
    x = observations(spec)
    trained = train(spec, x, [0, 1, 0, 1])
    assert trained.finite.all()
    found = trained.history["penalty/gaussian_tc"][-3:].mean(axis=0)
    assert (found[2:] < 0.5 * found[:2]).all()
    for values in x.values():
        values[1] = 1e30
    assert train(spec, x, [0, 1, 0, 1]).finite.tolist() == [True, False, True, False]


@pytest.fixture
def new_figure(tmp_path, monkeypatch):
    """The worked example of a figure, loaded."""
    monkeypatch.setitem(FIGURES._entries, "steps", "cdgm.figures.recovery:draw")
    file = tmp_path / "steps.py"
    file.write_text(blocks(DOCS / "extending.md", "python")[4], encoding="utf-8")
    spec = importlib.util.spec_from_file_location("steps", file)
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def checked(overlay: dict, folder: Path):
    """The config with an overlay, after its claims were checked as the workflow checks them."""
    file = folder / "my.yaml"
    file.write_text(yaml.safe_dump(overlay), encoding="utf-8")
    files = [ROOT / "config.yaml", file]
    config = parse_config(merge(BASE, overlay), files)
    check_claims(config, files)
    return config


def test_the_worked_study_and_its_claim_are_valid(new_figure, tmp_path):
    config = checked(overlays("extending.md")[2], tmp_path)
    assert set(plan_of({}).fits) < set(expand(config).fits)
    assert "longer_is_enough" not in not_run(config, "all")


def test_the_claims_of_the_guide_are_valid(tmp_path):
    for stated in (o for o in overlays("config.md") if "claims" in o):
        config = checked(stated, tmp_path)
        assert set(stated["claims"]) == set(config.claims)
        assert not_run(config, "all") == {}


def test_the_new_figure_draws_medians(new_figure):
    shared = {"study": "longer", "variant": "cvae", "source": "target", "truth": "salient", "twist": 0.0}
    shared |= {"metric": "recovery_cc", "null_high": 0.1, "block": "salient"}
    table = pd.DataFrame(
        [
            shared | {"setting": f"a@steps={steps}", "seed": seed, "finite": seed < 4, "value": value + seed}
            for steps, value in ((6000, 0.5), (1500, 0.1))
            for seed in range(5)
        ]
    )
    figure, points = new_figure.draw({"scores": table}, "longer")
    assert points.to_numpy().tolist() == [["salient", 1500, 1.6], ["salient", 6000, 2.0]]
    (line,) = figure.axes[0].lines
    assert line.get_xdata().tolist() == [1500, 6000]


def test_every_key_of_claims_and_column_of_verdicts_is_explained():
    models = (Claim, Condition, AnyOf, Selector)
    keys = {field.alias or name for model in models for name, field in model.model_fields.items()}
    text = (ROOT / "docs" / "config.md").read_text(encoding="utf-8").split("## Claims")[1]
    assert not [key for key in sorted(keys) if f"`{key}`" not in text]
    text = (ROOT / "docs" / "results.md").read_text(encoding="utf-8").split("## Verdicts")[1]
    assert not [name for name in [*CLAIM_COLUMNS, *COLUMNS] if f"`{name}`" not in text]


def test_every_key_is_explained():
    text = (ROOT / "docs" / "config.md").read_text(encoding="utf-8")
    registries = _registries()
    keys = {name for model in (Simulation, ModelSpec, TrainingSpec) for name in model.model_fields}
    for registry in registries:
        for kind in registry:
            keys |= {kind, *registry.load(kind).model_fields}
    missing = sorted(key for key in keys if f"`{key}`" not in text)
    assert not missing


def test_every_written_key_is_explained():
    text = (ROOT / "docs" / "config.md").read_text(encoding="utf-8")
    # Below these, keys are names that the user gives.
    named = {"designs", "variants", "downloads", "datasets", "protocols", "studies", "settings", "claims"}
    free = {"blocks", "dims", "n_train", "n_test", "noise_of", "classes", "labels", "ratio", "sweep"}

    def keys(node, names=False):
        for key, value in node.items():
            if not names:
                yield key
            if isinstance(value, dict) and key not in free:
                yield from keys(value, names=not names and key in named)

    missing = sorted({key for key in keys(BASE) if f"`{key}`" not in text})
    assert not missing


def _registries():
    from cdgm.data.downloads import DOWNLOADS
    from cdgm.data.genes import GENES
    from cdgm.data.readers import READERS
    from cdgm.models.likelihoods import LIKELIHOODS
    from cdgm.objectives.combiners import COMBINERS
    from cdgm.objectives.constraints import CONSTRAINTS
    from cdgm.simulation.latents import LATENTS
    from cdgm.simulation.noises import NOISES

    return (
        COMBINERS, CONSTRAINTS, DOWNLOADS, GENES, LATENTS, LIKELIHOODS, MIXINGS, NOISES, PENALTIES, READERS,
    )  # fmt: skip


def test_every_column_of_scores_is_explained():
    from cdgm.evaluation.study_tables import ENDS, GROUP_COLUMNS, SCORE_COLUMNS

    text = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    missing = sorted(name for name in {*SCORE_COLUMNS, *GROUP_COLUMNS, *ENDS} if f"`{name}`" not in text)
    assert not missing


def test_every_fault_names_a_test_that_there_is():
    text = (ROOT / "docs" / "robustness.md").read_text(encoding="utf-8")
    assert not [n for n in (*EXEMPT_NAMES, *(f"{f}/" for f in EXEMPT_FOLDERS)) if f"`{n}`" not in text]
    rows = re.findall(r"^\| .* \|$", text.split("## What a change")[0], re.MULTILINE)[1:]
    faults = [row for row in rows if not re.fullmatch(r"\| \*\*[\w ]+\*\* \| \| \|", row)]
    assert len(faults) > 30
    for row in faults:
        file, name = re.search(r"\| `(tests/[\w/]+\.py)::(test_\w+)` \|$", row).groups()
        assert f"\ndef {name}(" in (ROOT / file).read_text(encoding="utf-8"), row
