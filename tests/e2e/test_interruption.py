"""A run that is killed again and again ends with the very results of a run that was left alone.

At no moment is a result half-written: what stands under its final name after a kill is whole.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.snakemake_runs import TINY, copy_checkout, dry_run, results, snakemake

SEED = int(os.environ.get("CDGM_TEST_SEED", "1"))


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_checkout(tmp_path_factory.mktemp("interruption") / "checkout")


@dataclass(frozen=True)
class Undisturbed:
    """What a run that was left alone made, and the seconds from its first job to its end."""

    files: dict[str, bytes]
    seconds: float


@pytest.fixture(scope="module")
def undisturbed(checkout: Path) -> Undisturbed:
    folder = checkout.with_name("undisturbed")
    folder.mkdir()
    with started(checkout, folder) as (process, out, _):
        wait_for_first_job(process, out)
        clock = time.monotonic()
        assert process.wait() == 0, out.read_text(encoding="utf-8")
        seconds = time.monotonic() - clock
    return Undisturbed({name: file.read_bytes() for name, file in results(folder).items()}, seconds)


@contextmanager
def started(checkout: Path, folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path, str]]:
    """A run in a process group of its own, what it says, and the mark that all of its processes carry."""
    mark = uuid.uuid4().hex
    out = folder.with_name(f"{folder.name}.txt")
    command = [sys.executable, "-m", "snakemake", "--cores", "2", "--directory", folder, "--configfile", TINY]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": "", "CDGM_TEST_MARK": mark}
    with (
        out.open("w") as handle,
        subprocess.Popen(
            command, cwd=checkout, env=environment, stdout=handle, stderr=handle, start_new_session=True
        ) as process,
    ):
        try:
            yield process, out, mark
        finally:
            kill(process, mark)


def marked(mark: str) -> list[psutil.Process]:
    """All processes with a mark, whatever group they are in."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get("CDGM_TEST_MARK") == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def kill(process: subprocess.Popen[bytes], mark: str) -> None:
    """SIGKILL to the whole group, then to processes that had left it; returns when none is left."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    while left := marked(mark):
        for stray in left:
            with suppress(psutil.Error):
                stray.kill()
        time.sleep(0.05)


def wait_for_first_job(process: subprocess.Popen[bytes], out: Path) -> None:
    while process.poll() is None and b"Select jobs to execute" not in out.read_bytes():
        time.sleep(0.02)


def is_killed(checkout: Path, folder: Path, delay: float) -> bool:
    """Start a run and kill it ``delay`` seconds after its first job; whether it was still at work."""
    with started(checkout, folder) as (process, out, mark):
        wait_for_first_job(process, out)
        with suppress(subprocess.TimeoutExpired):
            code = process.wait(timeout=delay)
            assert code == 0, out.read_text(encoding="utf-8")
            return False
        kill(process, mark)
    return True


@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_runs_end_as_if_left_alone(
    kills: int, checkout: Path, undisturbed: Undisturbed, tmp_path: Path
):
    rng = random.Random(SEED)
    print(f"CDGM_TEST_SEED={SEED}; left alone, the jobs take {undisturbed.seconds:.1f} s")
    folder = tmp_path / "run"
    folder.mkdir()
    done, left_behind = 0, 0
    while done < kills:
        delay = rng.uniform(0, undisturbed.seconds)
        killed = is_killed(checkout, folder, delay)
        done += killed
        found = results(folder)
        print(f"{'killed' if killed else 'finished before'} {delay:.2f} s; {len(found)} files")
        parts = [name for name in found if ".part" in name]
        left_behind += len(parts)
        broken = [
            name
            for name, file in found.items()
            if name not in parts and file.read_bytes() != undisturbed.files.get(name)
        ]
        assert broken == []
        if killed:
            unlocked = snakemake(checkout, folder, "--unlock")
            assert unlocked.code == 0, unlocked.out + unlocked.err
        else:
            assert set(found) == set(undisturbed.files)
            shutil.rmtree(folder)
            folder.mkdir()
    print(f"{left_behind} temporary files were left behind by kills")
    last = snakemake(checkout, folder, "--cores", 2)
    assert last.code == 0, last.out + last.err
    assert {name: file.read_bytes() for name, file in results(folder).items()} == undisturbed.files
    # Not only among what is compared: nothing half-written stays anywhere.
    assert [file for file in (folder / "results").rglob("*") if ".part" in file.name] == []
    assert dry_run(checkout, folder).jobs == {}
