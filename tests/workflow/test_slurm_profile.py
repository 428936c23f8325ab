"""The profile for Slurm: what each rule asks for, checked with stand-ins for Slurm's programs.

A real Slurm is used by tests/slurm, where there can be one.
"""

import importlib.util
import os
import re
import shlex
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from cdgm.config.layers import load_layers
from cdgm.config.study import parse_config
from cdgm.workflow.plan import expand
from tests.snakemake_runs import ROOT, SMOKE, command, copy_checkout
from tests.workflow.test_plan_of_jobs import RULES

PROFILES = {
    name: yaml.safe_load((ROOT / f"profiles/{name}/config.yaml").read_text(encoding="utf-8"))
    for name in ("default", "slurm")
}
LOCAL = {"plan", "fetch", "summarise", "costs", "draw", "draw_detection", "judge", "index"}
# Rule to megabytes and minutes of the first attempt.
ASKED = {
    "simulate": (1500, 15),
    "preprocess": (4000, 30),
    "fit": (1500, 30),
    "evaluate": (2000, 30),
    "trace": (2000, 60),
    "detect": (2000, 30),
    "baselines": (3000, 30),
    "ceiling": (1500, 60),
    "map_cells": (3000, 30),
}
# sbatch writes down how it was called; every job fails at once.
STAND_IN = r"""#!/bin/sh
calls=$(dirname "$0")/calls
case $(basename "$0") in
    sbatch)
        # One at a time: jobs are handed in side by side.
        until mkdir "$calls.lock" 2>/dev/null; do sleep 0.01; done
        printf '%s\n' "$*" | tr '\n' ' ' >> "$calls"; echo >> "$calls"; grep -c . "$calls"
        rmdir "$calls.lock" ;;
    squeue) for i in $(seq "$(grep -c . "$calls")"); do echo "$i|FAILED"; done ;;
    sinfo) echo "main*" ;;
    sacctmgr) echo my_account ;;
    scontrol) echo "MinJobAge = 3600 sec" ;;
esac
"""


def test_the_profiles_differ_only_in_where_jobs_run():
    how_many = {"cores", "max-jobs-per-timespan"}
    shared = {key: value for key, value in PROFILES["default"].items() if key not in how_many}
    assert PROFILES["slurm"]["max-jobs-per-timespan"] != PROFILES["default"]["max-jobs-per-timespan"]
    assert shared.items() <= PROFILES["slurm"].items()
    # Would be a limit on all jobs of the cluster together.
    assert "cores" not in PROFILES["slurm"]
    # Two known traps of the executor: array jobs leak, and groups ask for more cores than a node has.
    assert not any("array" in key or "group" in key for key in PROFILES["slurm"])


@pytest.mark.parametrize("rule", sorted(RULES))
def test_each_rule_asks_for_more_at_each_attempt(rule: str):
    for resource in ("mem_mb", "runtime"):
        asked = re.search(
            rf"{resource}=lambda wildcards, (?:input, )?attempt: (?:int\()?(\d+)[^,]*\* attempt,", RULES[rule]
        )
        assert asked, f"rule {rule}: {resource} does not grow with the attempt"
        if rule in ASKED:
            assert int(asked[1]) == ASKED[rule][resource == "runtime"]


def test_every_rule_is_submitted_or_local():
    assert set(RULES) == ASKED.keys() | LOCAL
    text = "".join(file.read_text(encoding="utf-8") for file in (ROOT / "rules").glob("*.smk"))
    lists = re.findall(r"^localrules:\n((?: {4}\w+,\n)+)", text, re.MULTILINE)
    drawn = ["draw", "draw_detection"]
    assert {name for names in lists for name in re.findall(r"\w+", names)} == LOCAL - {*drawn}
    assert [rule for rule in RULES if "localrule: True" in RULES[rule]] == drawn


needs_plug_in = pytest.mark.skipif(
    importlib.util.find_spec("snakemake_executor_plugin_slurm") is None, reason="the plug-in is not installed"
)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_checkout(tmp_path_factory.mktemp("slurm") / "checkout")


def one_file_a_rule() -> dict[str, str]:
    """An output of one job of each submitted rule in the smoke run; none of these jobs needs another."""
    files = [ROOT / "config.yaml", ROOT / SMOKE]
    plan = expand(parse_config(load_layers(files), files), files)
    simulated = {name: job for name, job in plan.fits.items() if job.simulated}
    fit = next(iter(simulated))
    dataset = simulated[fit].spec.dataset
    other = next(name for name, job in simulated.items() if job.spec.dataset != dataset)
    cells = next(name for name, job in plan.evaluations.items() if not plan.fits[job.fit].simulated)
    third = next(
        name for name in plan.simulations if name not in {dataset, simulated[other].spec.dataset}
        and name not in {job.simulation for job in plan.ceilings.values()}
    )  # fmt: skip
    return {
        "simulate": f"results/simulations/{third}/data.npz",
        "ceiling": f"results/ceilings/{next(iter(plan.ceilings))}/metrics.csv",
        "fit": f"results/fits/{fit}/model.npz",
        "evaluate": next(
            f"results/evaluations/{name}/metrics.csv"
            for name, job in plan.evaluations.items()
            if job.fit == other
        ),
        "preprocess": f"results/data/{plan.fits[plan.evaluations[cells].fit].spec.dataset}/cells.npz",
        "baselines": f"results/baselines/{cells}/metrics.csv",
        "map_cells": f"results/maps/{cells}.csv",
    }


def submitted(checkout: Path, folder: Path, rules: list[str], *options: object) -> list[dict[str, str]]:
    """Options of each call of sbatch when these rules have to run."""
    run, programs = folder / "run", folder / "programs"
    programs.mkdir(parents=True)
    for name in ("sbatch", "squeue", "sinfo", "sacct", "sacctmgr", "scontrol", "scancel"):
        (programs / name).write_text(STAND_IN, encoding="utf-8")
        (programs / name).chmod(0o755)
    run.mkdir()
    files = one_file_a_rule()
    snakemake = [sys.executable, "-m", "snakemake", *(files[rule] for rule in rules)]
    snakemake += ["--directory", run, "--configfile", SMOKE]
    done = command(*snakemake, "--dry-run", cwd=checkout)
    assert done.code == 0, done.err
    # Every result is there, though empty, in the order of making: only forced jobs have a reason to run.
    for line in re.findall(r"^ {4}output: (.*)$", done.out + done.err, re.MULTILINE):
        for name in line.split(", "):
            (run / name).parent.mkdir(parents=True, exist_ok=True)
            (run / name).touch()
    words = [*snakemake, "--workflow-profile", "profiles/slurm", *options]
    # The profile's patience is for real clusters.
    words += ["--slurm-init-seconds-before-status-checks", 1, "--seconds-between-status-checks", 1]
    words += ["--max-jobs-per-timespan", "100/1s", "--slurm-status-command", "squeue"]
    words += ["--rerun-triggers", "mtime", "--force"]
    path = {"PATH": os.pathsep.join([str(programs), str(Path(sys.executable).parent), os.environ["PATH"]])}
    done = command(*words, cwd=checkout, environment=path)
    assert done.code == 1, done.out + done.err
    assert f"\n{len(rules)} job{'s' * (len(rules) > 1)} failed; " in done.err, done.out + done.err
    found = []
    for call in (programs / "calls").read_text(encoding="utf-8").splitlines():
        words = shlex.split(call.partition(" --wrap=")[0])
        assert "--no-requeue" in words
        assert "--cpus-per-task=1" in words
        names = ("--comment", "-A", "-p", "-t", "--mem")
        found.append({name: words[words.index(name) + 1] for name in names if name in words})
    return found


def asked(calls: list[dict[str, str]]) -> dict[str, tuple[int, int]]:
    """Megabytes and minutes that each rule asked for."""
    return {
        re.match(r"rule_(\w+?)_wildcards", call["--comment"])[1]: (int(call["--mem"]), int(call["-t"]))
        for call in calls
    }


@pytest.mark.soak
@needs_plug_in
def test_each_rule_is_submitted_with_its_memory_and_time(checkout: Path, tmp_path: Path):
    """Against stand-ins for Slurm's programs; two runs side by side, which mostly wait."""
    rules = (["simulate", "ceiling", "fit", "evaluate", "preprocess"], ["baselines", "map_cells"])
    mine = ["--default-resources", "slurm_account=my_account", "slurm_partition=long"]
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(submitted, checkout, tmp_path / "a", rules[0], "--retries", 0, *mine)
        second = pool.submit(
            submitted, checkout, tmp_path / "b", rules[1], "--retries", 0, "--slurm-no-account"
        )
        calls, others = first.result(), second.result()
    assert asked(calls) | asked(others) == ASKED
    assert {(call["-A"], call["-p"]) for call in calls} == {("my_account", "long")}
    # Without a wish, the cluster's default.
    assert {call["-p"] for call in others} == {"main"}
