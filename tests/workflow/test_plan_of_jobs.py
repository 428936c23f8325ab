"""The workflow schedules the expected jobs, and every rule declares its log, resources and code."""

import re
import sys

import pytest
import yaml

from cdgm.config.layers import load_layers
from cdgm.config.study import parse_config
from cdgm.workflow.plan import expand, plan_rows
from tests.guide import PAGES, commands, with_example
from tests.snakemake_runs import ROOT, SMOKE, command, copy_checkout, dry_run, scheduled

# Rule to its text; the rule of figures has no name of its own, as it stands in a loop.
RULES = {
    name or "draw": body
    for file in sorted((ROOT / "rules").glob("*.smk"))
    for name, body in re.findall(
        r"^ *rule ?(\w*):\n(.*?)(?=^\S|\Z)", file.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    return copy_checkout(tmp_path_factory.mktemp("plan") / "checkout")


def test_the_real_config_is_a_small_number_of_jobs(checkout, tmp_path):
    jobs = scheduled(checkout, tmp_path, overlay=None)
    assert sum(jobs.values()) <= 480
    # Every fit is scored by one job, but one: two settings read one fit with different twists.
    assert jobs["evaluate"] == jobs["fit"] + 1
    assert not (tmp_path / "results").exists()


def test_smoke_runs_every_rule(checkout, tmp_path):
    jobs = scheduled(checkout, tmp_path, overlay=SMOKE)
    stages = {name: count for name, count in jobs.items() if not name.startswith("draw")}
    assert stages == {
        "plan": 1,
        "fetch": 1,
        "preprocess": 2,
        "simulate": 8,
        "fit": 35,
        "evaluate": 36,
        "baselines": 2,
        "ceiling": 4,
        "map_cells": 2,
        "summarise": 10,
        "detect": 1,
        "judge": 1,
        "index": 1,
    }
    # Each figure of the real studies once, and those of other targets but for the traces of trainings.
    real = yaml.safe_load((checkout / "config.yaml").read_text(encoding="utf-8"))["studies"]
    figures = {figure for study in real.values() if study["target"] == "all" for figure in study["figures"]}
    figures |= {"doses", "procedures", "recovery_limit", "regrets", "screens"}
    assert {name: count for name, count in jobs.items() if name.startswith("draw")} == {
        f"draw_{figure}": 1 for figure in {*figures, "detection"}
    }
    # `costs` and `trace` feed figures of targets of their own.
    ran = {"draw" if name.removeprefix("draw_") in figures else name for name in jobs}
    assert ran == set(RULES) - {"costs", "trace"}


def test_the_worked_study_of_the_guide_is_scheduled(tmp_path):
    """With its figure, claim and caption written into a checkout just as the guide says."""
    checkout = with_example(copy_checkout(tmp_path / "checkout"), "a study with a figure and a claim")
    wanted = ("results/figures/longer/steps.png", "results/claims.html")
    jobs = scheduled(checkout, tmp_path, *wanted, overlay=checkout / "my.yaml")
    assert {"draw_steps": 1, "judge": 1}.items() <= jobs.items()
    assert jobs["fit"] >= 3


def test_files_that_the_guide_asks_for_can_be_made(checkout, tmp_path):
    asked = [c for page in PAGES for c in commands(page) if c[0] == "snakemake" and "--configfile" not in c]
    files = sorted({word for words in asked for word in words if word.startswith("results/")})
    assert "results/claims.html" in files
    jobs = scheduled(checkout, tmp_path, *files, overlay=None)
    assert jobs["draw_twist"] == 1
    assert jobs["judge"] == 2


def test_each_target_has_studies_of_its_own(checkout, tmp_path):
    """One dry run of all that needs downloads or time; which study is whose stands in the config."""
    jobs = scheduled(checkout, tmp_path, "perturbseq", "atlas", "scaling", overlay=None)
    # One set is read from two files, and two sets from one.
    assert jobs["fetch"] == jobs["preprocess"] == 5 + 2
    assert (jobs["costs"], jobs["draw_scaling"]) == (1, 1)
    config = parse_config(load_layers([ROOT / "config.yaml"]))
    plan, targets = expand(config), ("perturbseq", "atlas", "scaling")
    rows = {target: plan_rows(config, plan, target) for target in targets}
    fits = {target: {row["fit"] for row in rows[target]} for target in targets}
    assert jobs["fit"] == sum(map(len, fits.values()))
    assert (len(fits["atlas"]), len(fits["scaling"])) == (10, 14)
    simulated = [target for target in targets if rows[target][0]["data"].startswith("simulations/")]
    assert simulated == ["scaling"]


def test_beyond_tells_its_cost_first(checkout, tmp_path):
    """What earlier runs made is not counted; of several studies with the same fits, one makes them."""
    done = dry_run(checkout, tmp_path, "beyond", overlay=None)
    config = parse_config(load_layers([ROOT / "config.yaml"]))
    rows = plan_rows(config, expand(config), "beyond")
    fits = {row["fit"]: row["members"] for row in rows}
    assert len(fits) < len(rows)
    assert (done.jobs["fit"], done.jobs["trace"]) == (len(fits), 4)
    told = f"beyond: {sum(fits.values()):,} fits in {len(fits)} of {len(fits)} stacks are to be made: some "
    minutes = int(re.search(rf"{told}(\d+) minutes of one core", done.err)[1])
    assert 200 <= minutes <= 300
    first = next(iter(fits))
    (tmp_path / "results/fits" / first).mkdir(parents=True)
    (tmp_path / "results/fits" / first / "model.npz").touch()
    assert (
        f"in {len(fits) - 1} of {len(fits)} stacks" in dry_run(checkout, tmp_path, "beyond", overlay=None).err
    )


def test_decide_adds_seeds_to_the_studies_of_undecided_claims(checkout, tmp_path):
    (tmp_path / "results").mkdir()
    table = tmp_path / "results/claims.csv"
    table.write_text("claim,claim_verdict,n_all\ntiny_recovery,undecided,2\n", encoding="utf-8")
    assert scheduled(checkout, tmp_path)["fit"] == 3
    done = dry_run(checkout, tmp_path, "decide")
    assert "decide: tiny: 2 -> 10 seeds for tiny_recovery" in done.err
    assert done.jobs["fit"] == 3 * 5
    # A dry run takes no look. One that was taken holds for every later run.
    assert not (tmp_path / "results/looks.json").exists()
    (tmp_path / "results/looks.json").write_text('{"tiny_recovery": 10}', encoding="utf-8")
    assert scheduled(checkout, tmp_path)["fit"] == 3 * 5
    table.write_text("claim,claim_verdict,n_all\ntiny_recovery,supported,10\n", encoding="utf-8")
    done = dry_run(checkout, tmp_path, "decide")
    assert "decide: no claim has been judged undecided with a look left" in done.err
    assert done.jobs["fit"] == 3 * 5


@pytest.mark.parametrize("rule", sorted(RULES))
def test_rules_are_complete(rule):
    for directive in ("log", "benchmark", "conda", "resources", "params", "shell"):
        assert re.search(rf"^ +{directive}:$", RULES[rule], re.MULTILINE), f"rule {rule} has no {directive}:"
    assert "code=" in RULES[rule], f"rule {rule} does not depend on its code"
    # The file that a command names holds the parameter that decides whether the job is stale.
    named = re.findall(r"results/specs/(\w+)/", RULES[rule])
    assert named == ([rule] if "spec=" in RULES[rule] else [])
    log = re.search(r"results/logs/(\w+)/(.*)\.log", RULES[rule])
    if named:
        file = re.search(r"results/specs/\w+/(.*?)\.json", RULES[rule])[1].replace("wildcards.", "")
        assert (log[1], log[2]) == (rule, file)


def test_snakemake_lint_is_content(checkout):
    done = command(sys.executable, "-m", "snakemake", "--lint", cwd=checkout)
    assert done.code == 0, done.out + done.err
