"""The config expands to the right jobs: merging, types, ids, seeds, and jobs that studies share."""

import json
from pathlib import Path
from types import SimpleNamespace

import jsonschema
import pytest

from cdgm.config.json_schema import config_schema
from cdgm.config.layers import load_layers, merge
from cdgm.config.study import parse_config
from cdgm.workflow.job_specs import write_specs
from cdgm.workflow.plan import Plan, expand, plan_rows
from tests.unit.data_helpers import refused

ROOT = Path(__file__).parents[2]
BASE = ROOT / "config.yaml"


def plan(**overrides) -> Plan:
    return expand(parse_config(load_layers([BASE, overrides]), [BASE]), [BASE])


def identifiability(**changes) -> dict:
    return {"studies": {"identifiability": changes}}


def test_a_mapping_with_a_kind_replaces_and_others_merge():
    base = {"a": {"kind": "x", "old": 1}, "b": {"c": 1, "d": 2}, "e": [1, 2]}
    over = {"a": {"kind": "y"}, "b": {"c": 3}, "e": [4]}
    assert merge(base, over) == {"a": {"kind": "y"}, "b": {"c": 3, "d": 2}, "e": [4]}


def test_more_seeds_add_files_and_leave_the_old_jobs():
    old = plan()
    new = plan(**identifiability(seeds={"count": 20}))
    assert set(old.fits) < set(new.fits)
    assert set(old.simulations) < set(new.simulations)
    # One more file for each simulation of this study; the others have theirs.
    mine = {old.evaluations[row.evaluation].fit for row in old.studies["identifiability"]}
    datasets = {old.fits[fit].spec.dataset for fit in mine}
    assert len(new.simulations) == len(old.simulations) + len(datasets)


def test_fits_that_two_studies_share_are_one_job():
    study = load_layers([BASE])["studies"]["identifiability"]
    both = plan(studies={"again": study})
    assert both.fits == plan().fits
    assert len(both.studies["again"]) == len(both.studies["identifiability"])


def test_a_sweep_repeats_every_setting():
    swept = plan(**identifiability(sweep={"training.steps": [10, 20]}))
    assert len(swept.studies["identifiability"]) == 2 * len(plan().studies["identifiability"])
    assert "linear@steps=10" in {row.setting for row in swept.studies["identifiability"]}


def test_the_default_written_out_leaves_ids_alone():
    explicit = {"protocols": {"simulation": {"training": {"precision": "float32"}}}}
    assert list(plan(**explicit).fits) == list(plan().fits)


NOISE = {
    "real": {"kind": "gaussian", "sd": 0.1},
    "counts": {"kind": "negative_binomial", "rate": 5, "dispersion": 2},
    "binary": {"kind": "bernoulli", "scale": 2},
}
LIKELIHOOD = {
    "real": {"kind": "gaussian"},
    "counts": {"kind": "poisson", "link": "exp"},
    "binary": {"kind": "bernoulli"},
}


def fitted_to(noise: str, likelihood: str) -> dict:
    """The linear setting with another noise, fitted with a likelihood."""
    setting = {"simulation": {"noise": NOISE[noise]}, "model": {"likelihood": LIKELIHOOD[likelihood]}}
    return identifiability(settings={"linear": setting})


@pytest.mark.parametrize(
    ("noise", "likelihood"),
    [("real", "real"), ("counts", "real"), ("binary", "real"), ("counts", "counts"), ("binary", "counts"),
     ("binary", "binary")],
)  # fmt: skip
def test_a_likelihood_may_be_wrong_but_not_impossible(noise, likelihood):
    """Counts are real numbers and 0 and 1 are counts, so such a fit is a question that one can ask."""
    assert plan(**fitted_to(noise, likelihood)).fits


@pytest.mark.parametrize(
    ("noise", "likelihood", "words"),
    [
        ("real", "counts", "real values"),
        ("real", "binary", "real values"),
        ("counts", "binary", "counts"),
    ],
)
def test_a_likelihood_that_cannot_hold_the_data_is_refused(noise, likelihood, words):
    refused(
        lambda: plan(**fitted_to(noise, likelihood)),
        f"model.likelihood: got '{LIKELIHOOD[likelihood]['kind']}', expected one for {words},",
        f"noise '{NOISE[noise]['kind']}' in studies.identifiability.settings.linear",
    )


def test_cells_are_counts():
    settings = {"spikein_keep02": {"model": {"likelihood": {"kind": "bernoulli"}}}}
    refused(
        lambda: plan(studies={"perturbation": {"settings": settings}}),
        "model.likelihood: got 'bernoulli', expected one for counts,",
        "studies.perturbation.settings.spikein_keep02",
    )
    settings["spikein_keep02"]["model"]["likelihood"] = {"kind": "poisson", "link": "softmax"}
    assert plan(studies={"perturbation": {"settings": settings}}).fits


def test_a_block_cannot_be_named_like_a_path_of_parameters():
    design = {"sources": ["CD4+", "CD8.a"], "blocks": {"shared.z": ["CD4+", "CD8.a"]}}
    refused(lambda: plan(designs={"odd": design}), "designs.odd.blocks", "got 'shared.z'")


def test_the_schema_for_editors_admits_the_config_and_refuses_a_misspelt_key():
    config, schema = load_layers([BASE]), json.loads(json.dumps(config_schema()))
    jsonschema.validate(config, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(config | {"root_sed": 1}, schema)


@pytest.mark.parametrize("value", ["10", True, 1.5, [10]])
def test_types_refuse_what_the_schema_refuses(value):
    """A value that has to be converted is most likely a slip: ``count: yes`` would be one seed."""
    refused(lambda: plan(**identifiability(seeds={"count": value})), f"seeds.count: got {value!r}, expected")
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(load_layers([BASE, identifiability(seeds={"count": value})]), config_schema())


def test_the_table_of_the_plan_names_each_stack_of_a_target():
    config = parse_config(load_layers([BASE, {"studies": {"dispersion": {"target": "none"}}}]))
    made = expand(config)
    rows = plan_rows(config, made, "all")
    assert {row["study"] for row in rows} == {n for n, s in config.studies.items() if s.target == "all"}
    assert "dispersion" not in {row["study"] for row in rows}
    first = [row for row in rows if row["study"] == "identifiability" and row["setting"] == "linear"]
    assert [(row["variant"], row["seeds"]) for row in first] == [
        ("cvae", " ".join(map(str, range(200, 210))))
    ]
    for row in rows:
        assert made.evaluations[row["evaluation"]].fit == row["fit"]
        fit = made.fits[row["fit"]]
        assert row["members"] == len(fit.spec.members)
        assert row["data"] == ("simulations/" if fit.simulated else "data/") + fit.spec.dataset
        assert not row["ceiling"] or row["ceiling"] in made.ceilings


def test_specifications_are_written_once_and_again_where_they_differ(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    values = {"b": [1, 2], "a": "x"}

    class Job:
        log = ("results/logs/fit/mine-12.log",)
        params = SimpleNamespace(spec=json.dumps(values), keys=lambda: ["spec"])

    class Without:
        log, params = ("results/logs/draw/mine.log",), SimpleNamespace(keys=lambda: ["code"])

    file = tmp_path / "results/specs/fit/mine-12.json"
    write_specs([Job, Without])
    assert [f for f in tmp_path.rglob("*") if f.is_file()] == [file]
    assert json.loads(file.read_text()) == values
    written = file.stat()
    write_specs([Job])
    assert file.stat().st_mtime_ns == written.st_mtime_ns
    file.write_text("{")
    write_specs([Job])
    assert json.loads(file.read_text()) == values
