"""A run that is killed, or has no room to write, ends with the very results of a run that was left alone.

At no moment is a result half-written: what stands under its final name is whole.
"""

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import yaml

from tests.snakemake_runs import ROOT, TINY, Done, copy_checkout, results
from tests.snakemake_runs import dry_run as dry_run_with
from tests.snakemake_runs import snakemake as snakemake_with

Mount = Callable[[str], Path]
SEED = int(os.environ.get("CDGM_TEST_SEED", "1"))


#: In the checkout: one setting of the tests' smallest study, so that each rule has one job.
ONE = "tests/configs/one.yaml"


def snakemake(checkout: Path, folder: Path, *arguments: object) -> Done:
    return snakemake_with(checkout, folder, *arguments, overlay=ONE)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = copy_checkout(tmp_path_factory.mktemp("interruption") / "checkout")
    values = yaml.safe_load((ROOT / TINY).read_text(encoding="utf-8"))
    study = values["studies"]["tiny"]
    study["settings"] = {"linear": study["settings"]["linear"]}
    study["figures"] = ["training"]
    values["claims"] = {name: None for name in values.get("claims", {})}
    (folder / ONE).write_text(yaml.safe_dump(values), encoding="utf-8")
    return folder


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
    command = [sys.executable, "-m", "snakemake", "--cores", "2", "--directory", folder, "--configfile", ONE]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": "", "CDGM_TEST_MARK": mark}
    with (
        out.open("w") as handle,
        subprocess.Popen(
            command,
            cwd=checkout,
            env=environment,
            stdout=handle,
            stderr=handle,
            start_new_session=True,
            # Tests that a shell runs in the background inherit that Ctrl-C is ignored.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
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
    while process.poll() is None and b"Job stats:" not in out.read_bytes():
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


@pytest.mark.parametrize("kills", [2, pytest.param(50, marks=pytest.mark.soak)])
def test_killed_runs_end_as_if_left_alone(
    kills: int, checkout: Path, undisturbed: Undisturbed, tmp_path: Path
):
    rng = random.Random(SEED)
    print(f"CDGM_TEST_SEED={SEED}; left alone, the jobs take {undisturbed.seconds:.1f} s")
    folder = tmp_path / "run"
    folder.mkdir()
    done, left_behind, longest = 0, 0, undisturbed.seconds
    while done < kills:
        from_nothing, begun = not results(folder), time.monotonic()
        delay = rng.uniform(0, longest)
        killed = is_killed(checkout, folder, delay)
        if from_nothing and not killed:
            # The machine is less busy than it was: later kills would mostly come too late.
            longest = min(longest, time.monotonic() - begun)
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
    assert dry_run_with(checkout, folder, overlay=ONE).jobs == {}


def test_ctrl_c_is_one_line_and_nothing_stays_locked(checkout: Path, tmp_path: Path):
    folder = tmp_path / "run"
    folder.mkdir()
    with started(checkout, folder) as (process, out, _):
        while process.poll() is None and not list(folder.glob("results/logs/fit/*.log")):
            time.sleep(0.05)
        # As a terminal does it: to all processes of the group.
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(timeout=60) != 0
        said = out.read_text(encoding="utf-8")
    after = re.split(r"^total +\d+$", said, flags=re.MULTILINE)[1]
    assert "Interrupted: finished results are kept, and the same command continues." in after, said
    for noise in ("Traceback", "CalledProcessError", "RuleException", "WorkflowError", "Error in rule"):
        assert noise not in after, said
    assert dry_run_with(checkout, folder, overlay=ONE).code == 0
    assert list((folder / ".snakemake/locks").iterdir()) == []


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Mount]:
    """Mounts a file system in memory with given options."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(options: str) -> Path:
        if os.geteuid() != 0:
            pytest.skip("only root may mount a small disk")
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, text=True
        )
        if done.returncode:
            pytest.skip(f"no disk can be mounted here: {done.stderr.strip()}")
        return folder

    yield mount
    if folder.is_mount():
        subprocess.run(["umount", folder], check=True)


def test_a_full_disk_ends_the_run_and_leaves_only_whole_files(
    checkout: Path, undisturbed: Undisturbed, mounted: Mount
):
    disk = mounted("size=360k")
    full = snakemake(checkout, disk, "--cores", 2)
    said = full.out + full.err
    assert full.code == 1
    assert "No space left on device" in said
    # Of our own a line a job at most. Snakemake says more, as it can't write its own log either.
    told = re.compile(r"error: results/\S+: cannot be written: No space left on device")
    assert all(told.fullmatch(line) for line in said.splitlines() if line.startswith("error: "))
    assert "/workflow_scripts/" not in said, "a traceback of a job"
    left = results(disk)
    assert left.keys() < undisturbed.files.keys()
    assert [name for name in left if left[name].read_bytes() != undisturbed.files[name]] == []
    # With room again, the same command finishes.
    subprocess.run(["mount", "-o", "remount,size=20m", disk], check=True)
    unlocked = snakemake(checkout, disk, "--unlock")
    assert unlocked.code == 0, unlocked.err
    again = snakemake(checkout, disk, "--cores", 2)
    assert again.code == 0, again.out + again.err
    assert {name: file.read_bytes() for name, file in results(disk).items()} == undisturbed.files


def refused(checkout: Path, folder: Path, place: Path) -> None:
    done = snakemake(checkout, folder, "--cores", 1)
    assert done.code == 2
    (line,) = done.errors
    assert line == f"error: {place}: not a folder that can be written to"
    assert "Traceback" not in done.out + done.err


def test_a_results_folder_that_is_read_only_is_told_in_one_line(
    checkout: Path, mounted: Mount, tmp_path: Path
):
    disk = mounted("ro")
    run = tmp_path / "run"
    run.mkdir()
    (run / "results").symlink_to(disk)
    refused(checkout, run, run / "results")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_told_in_one_line(checkout: Path, tmp_path: Path):
    run = tmp_path / "run"
    run.mkdir(mode=0o500)
    refused(checkout, run, run)


def test_a_file_named_results_is_told_in_one_line(checkout: Path, tmp_path: Path):
    (tmp_path / "results").write_text("")
    refused(checkout, tmp_path, tmp_path / "results")
