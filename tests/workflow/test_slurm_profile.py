"""The profile for Slurm: what each rule asks for, checked with stand-ins for Slurm's programs.

A real Slurm is used by tests/slurm, where there can be one.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import sys
from pathlib import Path

import pytest
import yaml

from tests.snakemake_runs import ROOT, SMOKE, command, copy_checkout
from tests.workflow.test_plan_of_jobs import RULES

PROFILES = {
    name: yaml.safe_load((ROOT / f"profiles/{name}/config.yaml").read_text(encoding="utf-8"))
    for name in ("default", "slurm")
}
LOCAL = {"fetch", "summarise", "costs", "draw", "write_claims", "judge", "index"}
# Rule to megabytes and minutes of the first attempt.
ASKED = {
    "simulate": (1500, 15),
    "preprocess": (4000, 30),
    "fit": (1500, 30),
    "evaluate": (2000, 30),
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
    shared = {key: value for key, value in PROFILES["default"].items() if key != "cores"}
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
    assert {name for names in lists for name in re.findall(r"\w+", names)} == LOCAL - {"draw"}
    assert [rule for rule in RULES if "localrule: True" in RULES[rule]] == ["draw"]


needs_plug_in = pytest.mark.skipif(
    importlib.util.find_spec("snakemake_executor_plugin_slurm") is None, reason="the plug-in is not installed"
)


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, list[Path]]:
    """A checkout, a folder for results, and all results of the smoke run in the order of their making."""
    folder = tmp_path_factory.mktemp("slurm")
    checkout, run = copy_checkout(folder / "checkout"), folder / "run"
    run.mkdir()
    plan = [sys.executable, "-m", "snakemake", "--dry-run", "--directory", run, "--configfile", SMOKE]
    done = command(*plan, cwd=checkout)
    assert done.code == 0, done.err
    outputs = re.findall(r"^ {4}output: (.*)$", done.out, re.MULTILINE)
    return checkout, run, [run / name for line in outputs for name in line.split(", ")]


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("sbatch", "squeue", "sinfo", "sacct", "sacctmgr", "scontrol", "scancel"):
        (tmp_path / name).write_text(STAND_IN, encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", os.pathsep.join([str(tmp_path), os.environ["PATH"]]))
    return tmp_path


def submitted(
    planned: tuple[Path, Path, list[Path]], programs: Path, rules: list[str], *options: object
) -> list[dict]:
    """Options of each call of sbatch when these rules have to run."""
    checkout, run, results = planned
    # Every result is there, though empty. Each time anew: Snakemake deletes what failed jobs had made.
    for result in results:
        result.parent.mkdir(parents=True, exist_ok=True)
        result.touch()
    words = [sys.executable, "-m", "snakemake", "--workflow-profile", "profiles/slurm", *options]
    # The profile's patience is for real clusters.
    words += ["--slurm-init-seconds-before-status-checks", 1, "--seconds-between-status-checks", 1]
    words += ["--max-jobs-per-timespan", "100/1s", "--slurm-status-command", "squeue"]
    # The placeholders are older than this run's records: only what is forced has a reason to run.
    words += ["--rerun-triggers", "mtime", "--directory", run, "--configfile", SMOKE, "--forcerun", *rules]
    done = command(*words, cwd=checkout)
    assert done.code == 1, done.out + done.err
    calls = (programs / "calls").read_text(encoding="utf-8").splitlines()
    found = []
    for call in calls:
        words = shlex.split(call.partition(" --wrap=")[0])
        names = ("--comment", "-A", "-p", "-t", "--mem", "--no-requeue", "--cpus-per-task=1")
        found.append({name: words[words.index(name) + 1] for name in names if name in words})
        assert "--no-requeue" in words
        assert "--cpus-per-task=1" in words
    return found


@needs_plug_in
@pytest.mark.parametrize(
    "rules", [["simulate", "preprocess"], ["fit"], ["evaluate", "baselines"], ["map_cells"]]
)
def test_a_rule_is_submitted_with_its_memory_and_time(planned, programs: Path, rules: list[str]):
    places = ["slurm_account=my_account", "slurm_partition=long"]
    calls = submitted(planned, programs, rules, "--retries", 0, "--default-resources", *places)
    seen = set()
    for call in calls:
        rule = re.match(r"rule_(\w+?)_wildcards", call["--comment"])[1]
        seen.add(rule)
        assert (int(call["--mem"]), int(call["-t"])) == ASKED[rule]
        assert (call["-A"], call["-p"]) == ("my_account", "long")
    assert seen == set(rules)


@needs_plug_in
def test_a_second_attempt_gets_twice_as_much(planned, programs: Path):
    calls = submitted(planned, programs, ["preprocess"], "--retries", 1, "--slurm-no-account")
    assert [(call["--mem"], call["-t"]) for call in calls] == [("4000", "30"), ("8000", "60")]
    # Without a wish, the cluster's default.
    assert {call["-p"] for call in calls} == {"main"}
