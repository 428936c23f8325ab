"""Runs the workflow on a copy of the checkout and reads the jobs that it schedules."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
SMOKE = "tests/configs/smoke.yaml"
TINY = "tests/configs/tiny.yaml"
# Folders and names of results that hold dates and times by their nature; all others are equal between runs.
EXEMPT_FOLDERS = ("logs", "benchmarks")
EXEMPT_NAMES = ("provenance.json", "timings.csv")
# A command that takes longer hangs, also on a machine that is busy with other things.
HANGS_SECONDS = 1_200


@dataclass(frozen=True)
class Done:
    """A finished command."""

    code: int
    out: str
    err: str

    @property
    def errors(self) -> list[str]:
        """Our own one-line errors."""
        return [line for line in self.err.splitlines() if line.startswith("error: ")]

    @property
    def jobs(self) -> dict[str, int]:
        """Rule to number of jobs, from the table of job stats; empty where nothing is to be done."""
        table = re.search(r"^job +count\n[- ]+\n(.*?)\n\n", self.out, re.MULTILINE | re.DOTALL)
        if table is None:
            return {}
        counts = {rule: int(count) for rule, count in (row.split() for row in table[1].splitlines())}
        assert counts.pop("total") == sum(counts.values())
        return counts


def copy_checkout(target: Path) -> Path:
    """Copy the files under version control (and those about to be), as a clone would hold them."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in listing.stdout.decode().split("\0"):
        if name and (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, target / name)
    return target


def command(*arguments: object, cwd: Path, environment: Mapping[str, str] | None = None) -> Done:
    """Run a command with this interpreter's programs first, on one thread."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    own = {"PATH": path, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(cwd)}
    done = subprocess.run(
        list(map(str, arguments)),
        cwd=cwd,
        env=os.environ | own | dict(environment or {}),
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        timeout=HANGS_SECONDS,
    )
    return Done(done.returncode, done.stdout, done.stderr)


def snakemake(
    checkout: Path,
    directory: Path,
    *arguments: object,
    overlay: object = TINY,
    environment: Mapping[str, str] | None = None,
) -> Done:
    """Run snakemake on a checkout, with results in ``directory``."""
    directory.mkdir(parents=True, exist_ok=True)
    words = [*arguments, "--directory", directory, *([] if overlay is None else ["--configfile", overlay])]
    return command(sys.executable, "-m", "snakemake", *words, cwd=checkout, environment=environment)


def dry_run(checkout: Path, directory: Path, *arguments: object, overlay: object = TINY) -> Done:
    """What snakemake would do, job counts in :attr:`Done.jobs`."""
    return snakemake(checkout, directory, *arguments, "--dry-run", "--quiet", "rules", overlay=overlay)


def scheduled(checkout: Path, directory: Path, *arguments: object, overlay: object = TINY) -> dict[str, int]:
    """Rule to number of jobs of a dry run that has to succeed; targets that compute nothing left out."""
    done = dry_run(checkout, directory, *arguments, overlay=overlay)
    assert done.code == 0, done.out + done.err
    return {
        rule: count
        for rule, count in done.jobs.items()
        if rule not in ("all", "perturbseq", "atlas", "scaling", "beyond", "decide")
    }


def results(directory: Path) -> dict[str, Path]:
    """Results of a run that have to be equal between runs, by their names."""
    root = directory / "results"
    files = {file.relative_to(root).as_posix(): file for file in sorted(root.rglob("*")) if file.is_file()}
    return {
        name: file
        for name, file in files.items()
        if name.split("/")[0] not in EXEMPT_FOLDERS and file.name not in EXEMPT_NAMES
    }
