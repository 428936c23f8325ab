"""What a target costs is told before it runs."""

from pathlib import Path

import pytest

from cdgm.config.layers import load_layers
from cdgm.config.study import parse_config
from cdgm.workflow.cost_ahead import cost_ahead, seconds_of
from cdgm.workflow.plan import expand
from tests.unit.builders import THREE_SOURCES, fit_spec

ROOT = Path(__file__).parents[2]


def test_a_stack_costs_by_members_steps_and_sources():
    short, long = (fit_spec((0, 1), training={"steps": n}) for n in (1000, 3000))
    assert seconds_of(long) - seconds_of(short) == pytest.approx(2 * 2 * 0.4)
    fixed = seconds_of(fit_spec((0,))) * 2 - seconds_of(fit_spec((0, 1)))
    more = seconds_of(fit_spec((0, 1), design=THREE_SOURCES, training={"steps": 1000}))
    assert more - fixed == pytest.approx(1.5 * (seconds_of(short) - fixed))


def test_what_is_there_costs_nothing():
    config = parse_config(load_layers([ROOT / "config.yaml"]))
    plan = expand(config)
    study = plan.studies["scaling"]
    fits = [plan.evaluations[row.evaluation].fit for row in study]
    assert f"{3 * len(fits)} fits in {len(fits)} of {len(fits)} stacks" in cost_ahead(
        config, plan, "scaling", ()
    )
    assert f"in 1 of {len(fits)} stacks" in cost_ahead(config, plan, "scaling", fits[1:])
    assert cost_ahead(config, plan, "scaling", fits) == f"scaling: all {len(fits)} stacks of fits are there"
