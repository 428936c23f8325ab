"""What jobs cost: sums over the records of each rule, tables of a study, and the figure that draws them."""

import csv
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cdgm.config.layers import load_layers
from cdgm.config.study import parse_config
from cdgm.figures import FIGURES
from cdgm.utils.errors import UserError
from cdgm.workflow.costs import COST_COLUMNS, costs_table
from cdgm.workflow.plan import dump, expand
from cdgm.workflow.timings import COLUMNS, write_timings
from tests.unit.builders import fit_spec

ROOT = Path(__file__).parents[2]
HEADER = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"
ROWS = [
    {"setting": "points_100", "variant": "cvae", "fit": "a", "evaluation": "a-e"},
    {"setting": "points_1000", "variant": "cvae", "fit": "b", "evaluation": "b-e"},
]


@pytest.fixture
def results(tmp_path):
    for fit, seconds, memory in (("a", 10.0, 300.0), ("b", 20.0, 900.0)):
        (tmp_path / "fits" / fit).mkdir(parents=True)
        # Three seeds, each at two weights.
        sweep = {"penalties": [{"kind": "wasserstein_inactive", "weight": [1, 10]}]} if fit == "b" else {}
        spec = fit_spec((1, 2, 3), training={"steps": 50}, variant={"combiner": {"kind": "sum"}} | sweep)
        (tmp_path / "fits" / fit / "spec.json").write_text(json.dumps(dump(spec)))
        for stage, job in (("fit", fit), ("evaluate", f"{fit}-e")):
            path = tmp_path / "benchmarks" / stage / f"{job}.tsv"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(HEADER + f"{seconds}\t0:00:10\t{memory}\t1\t1\t1\t0\t0\t90\t{seconds - 1}\n")
    return tmp_path


def test_every_job_has_its_times_and_memory(results):
    table = costs_table("scaling", ROWS, results)
    assert list(table.columns) == COST_COLUMNS
    assert table["job"].tolist() == ["a", "a-e", "b", "b-e"]
    assert table["cpu_seconds"].tolist() == [9, 9, 19, 19]
    assert table["memory_mb"].tolist() == [300, 300, 900, 900]
    assert table["members"].tolist() == [3, 3, 6, 6]
    assert set(table["steps"]) == {50}


def test_a_job_too_short_to_be_measured_costs_nothing_that_is_known(results):
    path = results / "benchmarks" / "fit" / "a.tsv"
    path.write_text(HEADER + "0.4\t0:00:00\t-\t-\t-\t-\t-\t-\t-\t-\n")
    assert costs_table("scaling", ROWS, results)["memory_mb"].isna().tolist() == [True, False, False, False]


@pytest.mark.parametrize(
    ("damage", "words"),
    [("benchmarks/fit/a.tsv", "got 'no file'"), ("fits/a/spec.json", "spec.json")],
)
def test_a_damaged_file_is_named(results, damage, words):
    (results / damage).unlink()
    with pytest.raises(UserError, match=rf"{damage}.*") as caught:
        costs_table("scaling", ROWS, results)
    assert words in str(caught.value)


def tables(sizes=(100, 1000, 10000), seeds=3):
    rng = np.random.default_rng(0)
    scores, costs = [], []
    for axis in ("points", "features"):
        for i, size in enumerate(sizes):
            place = {"study": "scaling", "setting": f"{axis}_{size}", "variant": "cvae"}
            costs.append(place | {"stage": "fit", "members": seeds, "steps": 10, "cpu_seconds": 3.0 * 10**i})
            costs[-1] |= {"memory_mb": 300.0 + size}
            for seed in range(seeds):
                for block in ("background", "salient"):
                    for truth in ("background", "salient"):
                        metric = "recovery_cc" if block == truth else "leakage_cc"
                        value = (0.7 + 0.1 * i if block == truth else 0.1) + 0.01 * rng.standard_normal()
                        scores.append(
                            place
                            | {"seed": seed, "finite": True, "source": "target", "block": block}
                            | {"truth": truth, "twist": 0.0, "metric": metric, "value": value}
                            | {"null_high": 0.05, "fit": "f", "dataset": "d", "point": ""}
                        )
    fixed = {"study": "scaling", "setting": "points_100", "variant": "cvae", "seed": 0, "step": 1}
    history = pd.DataFrame(
        [
            fixed | {"quantity": "kl", "source": "target", "block": block, "value": 1.0}
            for block in ("background", "salient")
        ]
    )
    return {"scores": pd.DataFrame(scores), "costs": pd.DataFrame(costs), "history": history}


def test_the_figure_shows_time_a_step_and_member():
    _, data = FIGURES.load("scaling")(tables(), "scaling")
    jobs = data[(data["kind"] == "job") & (data["metric"] == "time")]
    # 3 s of 10 steps of 3 members are 100 ms each.
    assert sorted(jobs["value"]) == pytest.approx([100, 100, 1000, 1000, 10000, 10000])
    assert set(data["metric"]) == {"recovery_cc", "leakage_cc", "time", "memory"}


@pytest.mark.parametrize("change", ["costs", "setting"])
def test_what_the_figure_can_not_draw_is_told(change):
    given = tables()
    if change == "costs":
        del given["costs"]
    else:
        given["scores"]["setting"] = "points"
    with pytest.raises(UserError, match="a table of costs" if change == "costs" else "a name and a number"):
        FIGURES.load("scaling")(given, "scaling")


def test_records_are_summed_by_rule(tmp_path):
    config = parse_config(load_layers([ROOT / "config.yaml"]))
    plan = expand(config)
    fits = sorted(plan.fits)[:3]
    records = {
        f"fit/{fits[0]}": (10.5, 300.0, 9.0),
        f"fit/{fits[1]}": (20.0, 400.0, 19.0),
        # Too short to be measured.
        f"fit/{fits[2]}": (0.5, "NA", "NA"),
        # Of an earlier configuration.
        "fit/other-00000000": (1000.0, 1.0, 1.0),
        "draw/identifiability-recovery": (3.0, 150.0, 2.5),
        "judge/claims": (1.0, "-", "-"),
    }
    for name, (wall, memory, cpu) in records.items():
        file = tmp_path / f"{name}.tsv"
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"{HEADER}{wall}\t0:00:01\t{memory}\t1\t1\t1\t1\t1\t1\t{cpu}\n", encoding="utf-8")
    write_timings(tmp_path / "timings.csv", config, plan, tmp_path)
    with (tmp_path / "timings.csv").open(encoding="utf-8") as handle:
        found = list(csv.DictReader(handle))
    assert tuple(found[0]) == COLUMNS
    assert [list(row.values()) for row in found] == [
        ["fit", "3", "31.0", "28.0", "400.0"],
        ["draw", "1", "3.0", "2.5", "150.0"],
        ["judge", "1", "1.0", "", ""],
    ]
