"""What `cdgm fit` costs with its defaults, alone and beside busy processes, on all cores and on one.

    python -m benchmarks.own_data immune.h5ad source background [interferon.h5ad group_id ctrl ...]

Files are taken in threes: an .h5ad, the column of obs that separates the groups, and the background's value.
Every case is a process of its own, so imports, scoring and drawing count. ``one core`` is the same command
held on one core: members spread over cores must never be slower than that, whatever else runs.
"""

from __future__ import annotations

import argparse
import contextlib
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


def fit(file: str, key: str, background: str, one_core: bool) -> tuple[float, float, float]:
    """Seconds by the clock, processor seconds, held-out ELBO (mean over groups, median over members)."""
    cores = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "cdgm", "fit", file, "--source-key", key, "--background", background]
        began, before = time.monotonic(), os.times()
        subprocess.run(
            [*command, "--out", f"{folder}/fit"],
            check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            preexec_fn=(lambda: os.sched_setaffinity(0, cores[:1])) if one_core else None,
        )  # fmt: skip
        after, wall = os.times(), time.monotonic() - began
        elbo = pd.read_csv(Path(folder, "fit/elbo.csv"))
    processor = after.children_user + after.children_system - before.children_user - before.children_system
    return wall, processor, elbo[elbo["finite"]].groupby("member")["elbo"].mean().median()


def main() -> None:
    """Measure and print; exit with 1 when a promised ratio is missed and ``--check`` is given."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cases", nargs="+", metavar="FILE KEY BACKGROUND")
    parser.add_argument("--check", action="store_true", help="fail when the promised ratio is missed")
    arguments = parser.parse_args()
    if len(arguments.cases) % 3:
        parser.error("expected files in threes: FILE KEY BACKGROUND")
    missed = False
    print("| data | beside it | seconds, all cores | seconds, one core | ratio | processor seconds | ELBO |")
    print("|---|---|---|---|---|---|---|")
    for case in zip(*[iter(arguments.cases)] * 3, strict=True):
        for beside in (0, 1):
            with busy(beside):
                wall, processor, elbo = fit(*case, one_core=False)
                held, _, _ = fit(*case, one_core=True)
            missed |= wall / held > PROMISED
            name, others = Path(case[0]).stem, "a busy process" if beside else "nothing"
            cells = f"{wall:.0f} | {held:.0f} | {wall / held:.2f} | {processor:.0f} | {elbo:.1f}"
            print(f"| {name} | {others} | {cells} |", flush=True)
    if arguments.check and missed:
        sys.exit(1)


if __name__ == "__main__":
    main()
