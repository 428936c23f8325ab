"""What `cdgm fit` costs with its defaults, alone and beside busy processes, on all cores and on one.

    python -m benchmarks.own_data immune.h5ad source background [interferon.h5ad group_id ctrl ...]

Files are taken in threes: an .h5ad, the column of obs that separates the groups, and the background's value.
Every case is a process of its own, so imports, scoring and drawing count. ``one core`` is the same command
held on one core: members spread over cores must never be slower than that, whatever else runs. Where
scvi-tools is installed, its ContrastiveVI follows with its own defaults (one model, no scores or figures).
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

SPIN = "while True: sum(range(10_000))"
#: The most that all cores may cost of the time on one, with the same processes beside them.
PROMISED = 1.0


@contextlib.contextmanager
def busy(processes: int) -> Iterator[None]:
    """So many processes that never rest."""
    running = [subprocess.Popen([sys.executable, "-c", SPIN]) for _ in range(processes)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def methods(file: str, key: str, background: str) -> dict[str, list[str]]:
    """Command of each method; ``{out}`` stands for a folder to write to."""
    ours = ["cdgm", "fit", file, "--source-key", key, "--background", background, "--out", "{out}/fit"]
    found = {"`cdgm fit`": ours}
    if importlib.util.find_spec("scvi"):
        found["ContrastiveVI"] = ["benchmarks.peer_defaults", file, key, background]
    return found


def cost(command: list[str], one_core: bool) -> tuple[float, float, float]:
    """Seconds by the clock, processor seconds, and held-out ELBO (mean over groups, median over members)."""
    cores = sorted(os.sched_getaffinity(0))
    # Each method decides for itself how many threads it takes.
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    with tempfile.TemporaryDirectory() as folder:
        began, before = time.monotonic(), os.times()
        subprocess.run(
            [sys.executable, "-m", *(word.replace("{out}", folder) for word in command)],
            check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment,
            preexec_fn=(lambda: os.sched_setaffinity(0, cores[:1])) if one_core else None,
        )  # fmt: skip
        wall, after = time.monotonic() - began, os.times()
        processor = sum(after[2:4]) - sum(before[2:4])  # of children, user and system
        table = Path(folder, "fit", "elbo.csv")
        if not table.exists():
            return wall, processor, float("nan")
        elbo = pd.read_csv(table)
    return wall, processor, elbo[elbo["finite"]].groupby("member")["elbo"].mean().median()


def main() -> None:
    """Measure and print; exit with 1 when a promised ratio is missed and ``--check`` is given."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cases", nargs="+", metavar="FILE KEY BACKGROUND")
    parser.add_argument(
        "--beside", nargs="+", type=int, choices=(0, 1), default=[0, 1], help="busy processes beside it"
    )
    parser.add_argument(
        "--one-core", action="store_true", help="leave out all cores: processor seconds of a machine in use"
    )
    parser.add_argument("--check", action="store_true", help="fail when the promised ratio is missed")
    arguments = parser.parse_args()
    if len(arguments.cases) % 3:
        parser.error("expected files in threes: FILE KEY BACKGROUND")
    missed = False
    columns = ["data", "method", "beside it", "seconds, all cores", "one core", "ratio"]
    columns += ["processor seconds, all cores", "one core", "ELBO"]
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for file, key, background in zip(*[iter(arguments.cases)] * 3, strict=True):
        for beside in arguments.beside:
            for method, command in methods(file, key, background).items():
                with busy(beside):
                    held, alone, elbo = cost(command, one_core=True)
                    wall = processor = float("nan")
                    if not arguments.one_core:
                        wall, processor, elbo = cost(command, one_core=False)
                missed |= method == "`cdgm fit`" and wall / held > PROMISED
                words = Path(file).stem, method, "a busy process" if beside else "nothing"
                numbers = f"{wall:.0f} | {held:.0f} | {wall / held:.2f} | {processor:.0f} | {alone:.0f}"
                print(f"| {' | '.join(words)} | {numbers} | {elbo:.1f} |", flush=True)
    if arguments.check and missed:
        sys.exit(1)


if __name__ == "__main__":
    main()
