"""The worked examples of docs/extending.md work as written."""

import importlib.util
import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from cdgm.claims.check_selectors import check_claims
from cdgm.claims.scope import not_run
from cdgm.config.layers import load_layers
from cdgm.config.study import parse_config
from cdgm.figures import FIGURES
from cdgm.objectives.penalties import PENALTIES
from cdgm.simulation.mixings import MIXINGS
from cdgm.simulation.simulate import simulate
from cdgm.workflow.code_digest import code_digest
from cdgm.workflow.plan import Plan, expand
from tests.guide import ROOT, example, with_example
from tests.snakemake_runs import command, copy_checkout

MIXING, PENALTY, STUDY = "a mixing", "a penalty", "a study with a figure and a claim"
BASE = ROOT / "config.yaml"


def config_of(title: str = ""):
    """The config with the overlay of an example, its claims checked as the workflow checks them."""
    overlay = yaml.safe_load(example(title)["yaml"][0]) if title else {}
    config = parse_config(load_layers([BASE, overlay]), [BASE])
    check_claims(config, [BASE])
    return config


def plan_of(title: str = "") -> Plan:
    return expand(config_of(title))


def install(title: str, registry, folder: Path, monkeypatch: pytest.MonkeyPatch):
    """The module of an example, loaded under its name, and its line of the registry."""
    module, line = example(title)["python"]
    ((kind, place),) = re.findall(r'^"(\w+)": "([\w.:]+)",$', line, re.MULTILINE)
    name = place.partition(":")[0]
    (folder / "example.py").write_text(module, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(name, folder / "example.py")
    loaded = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, loaded)
    spec.loader.exec_module(loaded)
    monkeypatch.setitem(registry._entries, kind, place)
    return loaded


@pytest.fixture
def new_mixing(tmp_path, monkeypatch):
    return install(MIXING, MIXINGS, tmp_path, monkeypatch)


@pytest.fixture
def new_penalty(tmp_path, monkeypatch):
    return install(PENALTY, PENALTIES, tmp_path, monkeypatch)


@pytest.fixture
def new_figure(tmp_path, monkeypatch):
    return install(STUDY, FIGURES, tmp_path, monkeypatch)


@pytest.mark.slow
def test_the_tests_of_the_repository_pass_with_all_examples(tmp_path: Path):
    """Who follows the page need not touch a test, a schema or a list elsewhere; and nothing becomes stale."""
    checkout = copy_checkout(tmp_path / "checkout")
    used = ["cdgm.simulation.mixings.leaky_relu", "cdgm.objectives.penalties.hsic", "cdgm.figures.twist"]
    scripts = sorted((checkout / "workflow_scripts").glob("[!_]*.py"))
    before = [code_digest(script, used) for script in scripts]
    for title in (MIXING, PENALTY, STUDY):
        with_example(checkout, title)
    assert [code_digest(script, used) for script in scripts] == before
    files = ["test_docs", "test_layers", "test_staleness_modules", "test_plan"]
    words = [f"tests/unit/{name}.py" for name in files if (checkout / f"tests/unit/{name}.py").is_file()]
    chosen = "explained or imports or place or documentation or schema"
    done = command(
        sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", chosen, *words, cwd=checkout
    )
    assert done.code == 0, done.out + done.err
    assert int(re.search(r"(\d+) passed", done.out)[1]) > 8


def test_the_worked_example_simulates(new_mixing):
    base, plan = plan_of(), plan_of(MIXING)
    new = [plan.simulations[i] for i in set(plan.simulations) - set(base.simulations)]
    assert len(new) == 1
    assert len(set(plan.fits) - set(base.fits)) == 1
    assert set(base.fits) < set(plan.fits)
    sizes = {"background": 40, "target": 60}
    small = new[0].spec.model_copy(update={"n_train": sizes, "n_test": sizes})
    arrays = simulate(small, seeds=[3], root=1)
    assert arrays["x/train/target"].shape == (1, 60, small.n_features)
    assert np.isfinite(arrays["x/train/target"]).all()


def test_the_new_penalty_adds_a_stack_a_data_set(new_penalty):
    base, plan = plan_of(), plan_of(PENALTY)
    assert set(base.fits) < set(plan.fits)
    new = [plan.fits[i].spec for i in set(plan.fits) - set(base.fits)]
    assert {spec.dataset for spec in new} == {"immune_spikein_hard"}
    assert [len(spec.members) for spec in new] == [15]
    assert {member.point for member in new[0].members} == {f"gaussian_tc.weight={w}" for w in (1, 10, 100)}


def test_the_worked_study_and_its_claim_are_valid(new_figure):
    config = config_of(STUDY)
    assert set(plan_of().fits) < set(expand(config).fits)
    assert "longer_is_enough" not in not_run(config, "all")


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
