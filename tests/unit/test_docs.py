"""The overlays of the guide are valid, and the guide explains every key, plug-in, column and fault."""

import inspect
import re
from pathlib import Path

import pytest
import yaml

from cdgm.claims.check_selectors import check_claims
from cdgm.claims.judge import CLAIM_COLUMNS
from cdgm.claims.scope import not_run
from cdgm.config.claim import AnyOf, Claim, Condition, Selector
from cdgm.config.layers import merge
from cdgm.config.model import ModelSpec
from cdgm.config.simulation import Simulation
from cdgm.config.study import parse_config
from cdgm.config.training import TrainingSpec
from cdgm.objectives.penalties import PENALTIES
from cdgm.simulation.mixings import MIXINGS
from cdgm.workflow.plan import expand
from cdgm.workflow.timings import COLUMNS
from tests.guide import DOCS, ROOT, blocks
from tests.snakemake_runs import EXEMPT_FOLDERS, EXEMPT_NAMES

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
    levels, ramps, starts = (o for o in overlays("config.md") if "variants" in o)
    twenty, others, small, mine = (o for o in overlays("config.md") if not {"variants", "claims"} & set(o))
    assert len(parse_config(merge(BASE, levels)).variants["co-levels"].points()) == 4
    assert len(parse_config(merge(BASE, ramps)).variants["salient-first"].points()) == 3
    assert len(parse_config(merge(BASE, starts)).variants["restarts-of-penalty"].points()) == 6
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


def _seeds(plan, row):
    return plan.fits[plan.evaluations[row.evaluation].fit].spec.seeds


def checked(overlay: dict, folder: Path):
    """The config with an overlay, after its claims were checked as the workflow checks them."""
    file = folder / "my.yaml"
    file.write_text(yaml.safe_dump(overlay), encoding="utf-8")
    files = [ROOT / "config.yaml", file]
    config = parse_config(merge(BASE, overlay), files)
    check_claims(config, files)
    return config


def test_the_claims_of_the_guide_are_valid(tmp_path):
    for stated in (o for o in overlays("config.md") if "claims" in o):
        config = checked(stated, tmp_path)
        assert set(stated["claims"]) == set(config.claims)
        assert not_run(config, "all") == {}


def test_every_key_of_claims_and_column_of_verdicts_is_explained():
    models = (Claim, Condition, AnyOf, Selector)
    keys = {field.alias or name for model in models for name, field in model.model_fields.items()}
    text = (ROOT / "docs" / "config.md").read_text(encoding="utf-8").split("## Claims")[1]
    assert not [key for key in sorted(keys) if f"`{key}`" not in text]
    text = (ROOT / "docs" / "results.md").read_text(encoding="utf-8").split("## Verdicts")[1]
    assert not [name for name in [*CLAIM_COLUMNS, *COLUMNS] if f"`{name}`" not in text]


def test_every_key_is_explained():
    text = (ROOT / "docs" / "config.md").read_text(encoding="utf-8")
    keys = {name for model in (Simulation, ModelSpec, TrainingSpec) for name in model.model_fields}
    assert not [key for key in sorted(keys) if f"`{key}`" not in text]


def test_every_plug_in_is_explained():
    """A plug-in that config.md names is explained there, with all options; another by its own docstring."""
    text = (ROOT / "docs" / "config.md").read_text(encoding="utf-8")
    for registry in _registries():
        for kind in registry:
            plugin = registry.load(kind)
            where = text if f"`{kind}`" in text else inspect.getdoc(plugin)
            options = [name for name in plugin.model_fields if name not in ("kind", "weight", "ramp")]
            missing = [name for name in options if not re.search(rf"(^|[`, ]){name}($|[`, ])", where, re.M)]
            assert not missing, f"{registry.what} {kind}: {missing} not in its docstring or docs/config.md"


def test_every_written_key_is_explained():
    text = (ROOT / "docs" / "config.md").read_text(encoding="utf-8")
    # Below these, keys are names that the user gives.
    named = {"designs", "variants", "downloads", "datasets", "protocols", "studies", "settings", "claims"}
    free = {
        "blocks",
        "covariates",
        "dims",
        "n_train",
        "n_test",
        "noise_of",
        "classes",
        "labels",
        "ratio",
        "sweep",
    }

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
    from cdgm.data.gene_selection import GENES
    from cdgm.data.readers import READERS
    from cdgm.models.likelihoods import LIKELIHOODS
    from cdgm.objectives.combiners import COMBINERS
    from cdgm.objectives.constraints import CONSTRAINTS
    from cdgm.procedures import PROCEDURES
    from cdgm.simulation.latents import LATENTS
    from cdgm.simulation.noises import NOISES

    return (
        COMBINERS, CONSTRAINTS, DOWNLOADS, GENES, LATENTS, LIKELIHOODS, MIXINGS, NOISES, PENALTIES,
        PROCEDURES, READERS,
    )  # fmt: skip


def test_every_column_of_scores_is_explained():
    from cdgm.evaluation.study_tables import ENDS, GROUP_COLUMNS, SCORE_COLUMNS

    text = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    missing = sorted(name for name in {*SCORE_COLUMNS, *GROUP_COLUMNS, *ENDS} if f"`{name}`" not in text)
    assert not missing


def test_every_fault_has_its_test():
    text = (ROOT / "docs" / "robustness.md").read_text(encoding="utf-8")
    assert not [n for n in (*EXEMPT_NAMES, *(f"{f}/" for f in EXEMPT_FOLDERS)) if f"`{n}`" not in text]
    survived, tested = text.split("## What a change")[0], text.split("## Tests of the faults")[1]
    faults = [f for f in re.findall(r"^\| (.*?) \|", survived, re.MULTILINE) if f != "fault"]
    tests = re.findall(r"^\| (.*?) \| `(tests/[\w/]+\.py)::(test_\w+)` \|$", tested, re.MULTILINE)
    assert len(faults) > 30
    assert faults == [fault for fault, _, _ in tests]
    for fault, file, name in tests:
        assert f"\ndef {name}(" in (ROOT / file).read_text(encoding="utf-8"), fault
