"""Run the workflow through profiles/slurm on a real Slurm of one node, with faults; then once more in peace.

    python -m tests.slurm.run [--install] [--config tests/configs/smoke.yaml]

1. One fit takes more memory than it asked for: Slurm kills it, and its next attempt gets more. One fit
   fails always, and one is cancelled with scancel while it runs. The end names these two, the exit code is 1.
2. The same command again does what is left. All results are equal to those of a run without Slurm.

Where Slurm can't be run, one line says why and the exit code is 0.
"""

import argparse
import contextlib
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.slurm.one_node import OneNode, Unavailable, one_node, require
from tests.snakemake_runs import TINY, copy_checkout, results

# The test's own: no accounting database, and a node that is asked more often than a shared one may be.
OPTIONS = (
    "--slurm-no-account",
    *("--slurm-status-command", "squeue"),
    *("--slurm-init-seconds-before-status-checks", 4),
    *("--max-status-checks-per-second", 2),
    *("--latency-wait", 10),
)
LOCAL_RULES = ("fetch", "summarise", "draw_")


class Run:
    """A scratch folder in which one command is called again and again."""

    def __init__(self, scratch: Path, slurm: OneNode, config: str) -> None:
        self.checkout, self.folder, self.faults = scratch / "checkout", scratch / "run", scratch / "faults"
        self.slurm, self.config = slurm, config
        copy_checkout(self.checkout)
        for folder in (self.folder, self.faults):
            folder.mkdir()
        self.environment = slurm.environment | {
            "PYTHONPATH": str(self.checkout / "tests/slurm/faults"),
            "CDGM_TEST_FAULTS": str(self.faults),
        }
        self.calls = 0

    def command(self, *options: object) -> list[str]:
        words = [sys.executable, "-m", "snakemake", "--directory", self.folder, *options]
        return list(map(str, [*words, "--configfile", self.config]))

    @contextlib.contextmanager
    def started(self, *options: object) -> Iterator[tuple[subprocess.Popen[str], Path]]:
        """The workflow through Slurm, and the file with what it says."""
        self.calls += 1
        out = self.folder.with_name(f"call{self.calls}.txt")
        command = self.command("--workflow-profile", "profiles/slurm", *OPTIONS, *options)
        with (
            out.open("w") as handle,
            subprocess.Popen(
                command, cwd=self.checkout, env=self.environment, stdout=handle, stderr=handle, text=True
            ) as process,
        ):
            try:
                yield process, out
            finally:
                process.terminate()

    def through_slurm(self, *options: object) -> tuple[int, str]:
        """Exit code and output of the whole call."""
        with self.started(*options) as (process, out):
            code = process.wait(timeout=900)
        return code, out.read_text(encoding="utf-8")

    def made(self, pattern: str) -> set[str]:
        """Names of the finished results of a stage."""
        return {file.parent.name for file in (self.folder / "results").glob(pattern)}


def check(condition: bool, what: str, detail: str = "") -> None:
    """Say what holds; stop where it does not."""
    if not condition:
        print(f"FAILED: {what}\n{detail}", flush=True)
        raise SystemExit(1)
    print(f"ok: {what}", flush=True)


def wait_for(
    condition: Callable[[], str | None], process: subprocess.Popen[str], what: str, seconds: float = 180
) -> str:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        if found := condition():
            return found
        time.sleep(0.5)
    check(False, f"{what} (waited for {seconds:.0f} s)")
    raise AssertionError


def states(slurm: OneNode, rule: str, name: str = "") -> list[tuple[str, str]]:
    """State and memory of each Slurm job of a rule, oldest first."""
    return [(job.state, job.memory) for job in slurm.jobs() if job.comment == f"rule_{rule}_wildcards_{name}"]


def with_faults(run: Run) -> None:
    """Both calls of this module's text."""
    slurm = run.slurm
    hungry, failing, cancelled = planned_fits(run)
    for fit, kind in ((hungry, "memory"), (failing, "fail"), (cancelled, "slow")):
        (run.faults / f"{fit}.{kind}").touch()
    with run.started("--retries", 1) as (process, out):
        stopped: list[str] = []
        for _ in range(2):
            number = wait_for(lambda: running(run, cancelled, stopped), process, "the slow fit runs")
            slurm.ask("scancel", number)
            stopped.append(number)
        code = process.wait(timeout=600)
    said = out.read_text(encoding="utf-8")
    attempts = states(slurm, "fit", hungry)
    check(code == 1, "with failing fits the exit code is 1", said)
    check(
        [memory for _, memory in attempts] == ["1500M", "3000M"]
        and [state == "COMPLETED" for state, _ in attempts] == [False, True],
        "a fit that Slurm kills for its memory succeeds with twice as much",
        f"{attempts}\n{said}",
    )
    logs = (run.folder / f".snakemake/slurm_logs/rule_fit/{hungry}").glob("*.log")
    texts = "".join(file.read_text(encoding="utf-8", errors="replace") for file in logs)
    check("exceeded memory limit" in texts, "it was for its memory that Slurm killed it", texts)
    check(len(states(slurm, "fit", failing)) == 2, "a failing fit is tried again", said)
    check(run.made("fits/*/model.npz") == {hungry}, "failed and cancelled fits leave no model", said)
    check(len(run.made("evaluations/*/metrics.csv")) == 1, "the other fit is evaluated", said)
    summary = said[said.rfind("2 jobs failed; ") :].splitlines()[1:3]
    check(
        said.count("2 jobs failed; ") == 1
        and any(f"results/logs/fit/{failing}.log: error: a fault" in line for line in summary)
        and any(f"results/logs/fit/{cancelled}.log: " in line for line in summary),
        "the end names the two fits, their logs and the reason",
        said,
    )
    print("\n".join(summary))
    for file in run.faults.iterdir():
        file.unlink()
    code, said = run.through_slurm("--retries", 0)
    check(code == 0, "the same command again finishes", said)
    check(len(states(slurm, "fit", hungry)) == 2, "and does not repeat what was done", said)


def running(run: Run, fit: str, stopped: list[str]) -> str | None:
    """Number of the Slurm job in which a fit is at work, if there is one that was not stopped yet."""
    at_work = run.faults / f"{fit}.at_work"
    if not at_work.is_file() or (number := at_work.read_text(encoding="utf-8")) in stopped:
        return None
    return number or None


def planned_fits(run: Run) -> list[str]:
    """Ids of the fits, from a dry run."""
    done = subprocess.run(
        run.command("--dry-run", "--cores", 1), cwd=run.checkout, capture_output=True, text=True, check=True
    )
    # Whole paths only: Snakemake cuts long lists, in an order that differs from call to call.
    return sorted(set(re.findall(r"results/fits/([^/\s]+)/model\.npz", done.stdout)))


def compare(run: Run, reference: Path) -> None:
    """All results are there and equal to those of a run on this machine without Slurm."""
    done = subprocess.run(
        [*run.command("--cores", 2), "--directory", str(reference)],
        cwd=run.checkout,
        capture_output=True,
        text=True,
        check=False,
    )
    check(done.returncode == 0, "a run without Slurm", done.stdout + done.stderr)
    ours, theirs = results(run.folder), results(reference)
    check(set(ours) == set(theirs), f"all {len(theirs)} files are there", str(set(ours) ^ set(theirs)))
    different = [name for name in ours if ours[name].read_bytes() != theirs[name].read_bytes()]
    check(not different, "they equal those of a run without Slurm to the byte", str(different))
    completed = Counter(
        job.comment.split("_wildcards_")[0].removeprefix("rule_")
        for job in run.slurm.jobs()
        if job.state == "COMPLETED"
    )
    made = {
        "simulate": "simulations/*/data.npz",
        "fit": "fits/*/model.npz",
        "evaluate": "evaluations/*/metrics.csv",
    }
    for rule, pattern in made.items():
        check(completed[rule] == len(run.made(pattern)), f"Slurm ran every job of rule {rule}")
    check(not any(rule.startswith(LOCAL_RULES) for rule in completed), "small rules did not go through Slurm")
    print(f"jobs through Slurm: {dict(completed)}, {len(run.slurm.jobs())} with those that failed")


def main() -> None:
    """Parse, start Slurm, run, stop it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--install", action="store_true", help="let apt-get install Slurm where it is missing"
    )
    parser.add_argument("--config", help="run this overlay whole, without faults")
    arguments = parser.parse_args()
    clock = time.perf_counter()
    try:
        require(arguments.install)
        with (
            tempfile.TemporaryDirectory(prefix="cdgm-slurm-") as scratch,
            one_node(Path(scratch)) as slurm,
        ):
            run = Run(Path(scratch), slurm, arguments.config or TINY)
            if arguments.config:
                code, said = run.through_slurm()
                check(code == 0, "the workflow runs through Slurm", said)
            else:
                with_faults(run)
            print(f"through Slurm: {time.perf_counter() - clock:.0f} s", flush=True)
            compare(run, Path(scratch) / "reference")
    except Unavailable as reason:
        print(f"slurm-test: skipped: {reason}")
        return
    print(f"slurm-test: passed in {time.perf_counter() - clock:.0f} s")


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
