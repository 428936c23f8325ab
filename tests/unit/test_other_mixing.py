"""The overlay that judges claims on another mixing: the mixing is a new one, and every claim has it."""

from pathlib import Path

import pytest

from cdgm.config.layers import load_layers
from cdgm.config.study import parse_config
from cdgm.workflow.plan import expand

ROOT = Path(__file__).parents[2]
FILES = [ROOT / "config.yaml", ROOT / "claims.yaml"]
OVERLAY = ROOT / "tests/configs/other_mixing.yaml"
STUDIES = {"identifiability", "misspecification", "regularisation", "constrained"}


def settings_named(value):
    """All settings in a claim, however deep."""
    if isinstance(value, dict):
        yield from [value["setting"]] if isinstance(value.get("setting"), str) else []
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from settings_named(item)


@pytest.fixture(scope="module")
def overlaid():
    files = [*FILES, OVERLAY]
    config = parse_config(load_layers(files), files)
    return config, expand(config, files)


def test_no_study_of_the_project_uses_the_mixing():
    config = parse_config(load_layers(FILES), FILES)
    kinds = {job.spec.mixing.kind for job in expand(config, FILES).simulations.values()}
    assert "coupling" not in kinds
    assert "leaky_relu" in kinds


def test_every_setting_of_a_claim_has_the_new_mixing(overlaid):
    config, plan = overlaid
    run = {name for name, study in config.studies.items() if study.target == "all"}
    assert run == STUDIES
    of_claims = {
        (claim.study, setting)
        for claim in config.claims.values()
        if claim and claim.study in run
        for setting in settings_named(claim.model_dump())
    }
    assert len(of_claims) >= 9
    for study, setting in of_claims:
        rows = [row for row in plan.studies[study] if row.setting == setting]
        assert rows, (study, setting)
        for row in rows:
            assert plan.simulations[row.dataset].spec.mixing.kind == "coupling", (study, setting)
