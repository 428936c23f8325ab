"""A folder is replaced only if it is as cdgm wrote it: the tests look at the disk."""

import contextlib
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from cdgm.cli.main import main
from cdgm.utils import folders
from cdgm.utils.errors import UserError
from cdgm.utils.files import write_text
from cdgm.utils.folders import MANIFEST, UNFINISHED, atomic_folder
from tests.snakemake_runs import ROOT


def write(folder: Path, text: str = "new", overwrite: bool = True, **options) -> None:
    """Write a folder with a file and a folder in it."""
    with atomic_folder(folder, overwrite, **options) as place:
        (place / "in").mkdir()
        (place / "in" / "a.txt").write_text(text)


def disk(folder: Path) -> dict[str, str]:
    """Every file and link below a folder, with its content."""
    return {
        path.relative_to(folder).as_posix(): os.readlink(path) if path.is_symlink() else path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


def refused(folder: Path, *parts: str, **options) -> None:
    """The folder is refused in one line, before the work begins."""
    with pytest.raises(UserError) as caught, atomic_folder(folder, True, **options):
        pytest.fail("the work began")
    assert all(part in str(caught.value) for part in (str(folder), *parts)), caught.value


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    write(tmp_path / "out", "old")
    return tmp_path / "out"


def test_a_folder_as_it_was_written_is_replaced(ours: Path):
    write(ours)
    assert disk(ours)["in/a.txt"] == "new"
    assert sorted(disk(ours)) == [MANIFEST, "in/a.txt"]
    with pytest.raises(UserError, match="not empty"):
        write(ours, overwrite=False)


CHANGES = {
    "a file more": (lambda f: (f / "thesis.docx").write_text("x"), "'thesis.docx' is not of cdgm"),
    "a file more below": (lambda f: (f / "in" / "raw").write_text("x"), "'in/raw' is not of cdgm"),
    "an edited file": (lambda f: (f / "in" / "a.txt").write_text("edited"), "'in/a.txt' was changed"),
    "an empty folder more": (lambda f: (f / "mine").mkdir(), "'mine' is not of cdgm"),
    "a link": (lambda f: (f / "disk").symlink_to("/"), "'disk' is not of cdgm"),
    "a file that became a link": (
        lambda f: ((f / "in" / "a.txt").unlink(), (f / "in" / "a.txt").symlink_to(__file__)),
        "'in/a.txt' was changed",
    ),
    "no list": (lambda f: (f / MANIFEST).unlink(), f"no {MANIFEST}"),
    "another list": (lambda f: (f / MANIFEST).write_text("[]"), "no list of files"),
    "a broken list": (lambda f: (f / MANIFEST).write_text("{"), "not a JSON file"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_folder_of_someone_else_is_kept(what: str, ours: Path):
    change, part = CHANGES[what]
    change(ours)
    before = disk(ours)
    with pytest.raises(UserError) as caught:
        write(ours)
    assert part in str(caught.value)
    assert disk(ours) == before
    assert [path.name for path in ours.parent.iterdir()] == ["out"]


def test_inputs_homes_and_working_directories_are_kept(ours: Path, monkeypatch: pytest.MonkeyPatch):
    (ours.parent / "link").symlink_to(ours / "in" / "a.txt")
    for path in (ours, ours / "in" / "a.txt", ours.parent / "link", ours / "gone"):
        refused(ours, "holds the input", inputs=[path])
    monkeypatch.chdir(ours / "in")
    refused(ours, "working directory")
    monkeypatch.chdir(ours)
    refused(ours, "working directory")
    monkeypatch.chdir(ours.parent)
    monkeypatch.setenv("HOME", str(ours / "in"))
    refused(ours, "home")
    assert disk(ours)["in/a.txt"] == "old"


def test_a_link_is_followed_and_stays(ours: Path, tmp_path: Path):
    (tmp_path / "disk").mkdir()
    for name, target in {"link": "disk", "dangling": "later", "to ours": "out"}.items():
        (tmp_path / name).symlink_to(target)
        write(tmp_path / name)
        assert (tmp_path / name).is_symlink()
        assert disk(tmp_path / target)["in/a.txt"] == "new"
    (tmp_path / "loop").symlink_to("loop")
    refused(tmp_path / "loop", "leads to itself")
    (tmp_path / "file").write_text("kept")
    refused(tmp_path / "file", "got a file")


def test_a_mount_point_is_told_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    refused(Path("/"), "mount point")
    real = os.replace

    def busy(old, new):
        if Path(old) == tmp_path:
            raise OSError(16, "Device or resource busy", str(old))
        real(old, new)

    # As a folder that is mounted from the same disk.
    monkeypatch.setattr(folders.os, "replace", busy)
    refused(tmp_path, "busy")


def test_long_names_are_one_line_and_all_that_a_disk_takes_are_written(tmp_path: Path):
    write(tmp_path / ("a" * 250))
    write(tmp_path / ("a" * 250), "newer")
    assert disk(tmp_path / ("a" * 250))["in/a.txt"] == "newer"
    for name in ("a" * 300, "a/" * 3000):
        refused(tmp_path / name, "cannot be written")
    assert len(list(tmp_path.iterdir())) == 1


def test_files_that_came_during_the_work_are_kept_and_so_is_the_work(tmp_path: Path):
    (tmp_path / "out").mkdir()

    def work() -> None:
        with atomic_folder(tmp_path / "out") as place:
            (place / "a").write_text("an hour of work")
            (tmp_path / "out" / "notes").write_text("of the user")

    with pytest.raises(UserError, match=r"the results are in .*out-1"):
        work()
    assert disk(tmp_path / "out") == {"notes": "of the user"}
    assert disk(tmp_path / "out-1")["a"] == "an hour of work"


def test_another_process_that_writes_the_same_folder_loses_nothing(tmp_path: Path):
    code = (
        "import sys\nfrom cdgm.utils.folders import atomic_folder\n"
        "with atomic_folder(sys.argv[1]) as place:\n"
        "    (place / 'first').write_text('first')\n    print('begun', flush=True)\n    sys.stdin.read()\n"
    )
    words = [sys.executable, "-c", code, tmp_path / "out"]
    first = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with first:
        assert first.stdout.readline() == b"begun\n"
        write(tmp_path / "out", "second")
        _, error = first.communicate(b"")
    assert b"the results are in" in error
    assert disk(tmp_path / "out")["in/a.txt"] == "second"
    assert disk(tmp_path / "out-1")["first"] == "first"


def killed_at_each_step(root: Path, act: Callable[[], None]) -> Iterator[tuple[int, bool]]:
    """Yield after a process that was killed before its n-th change of the disk, and once after a whole one.

    ``root`` is emptied each time, and ``act`` called in a process of its own.
    """
    for nth in itertools.count(1):
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir()
        write(root / "out", "old")
        write_text(root / "file", "old")
        child = os.fork()
        if not child:
            left = [nth]
            for name in ("replace", "rename", "unlink", "rmdir", "mkdir", "fsync"):
                setattr(os, name, _counted(getattr(os, name), left))
            act()
            os._exit(0)
        _, status = os.waitpid(child, 0)
        killed = os.WIFSIGNALED(status)
        assert killed or os.waitstatus_to_exitcode(status) == 0
        yield nth, killed
        if not killed:
            return


def _counted(real: Callable, left: list[int]) -> Callable:
    def counted(*arguments, **options):
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **options)

    return counted


def replace_a_folder(root: Path) -> None:
    with atomic_folder(root / "out", True) as place:
        (place / "new").write_text("new")


def folders_after_kills(root: Path) -> None:
    """The old folder or the new one is whole, and in its place when the next command has looked."""
    states = set()
    for _, killed in killed_at_each_step(root, lambda: replace_a_folder(root)):
        # Somewhere, under a name of ours or its own, one of them has all of its files.
        there = [disk(path) for path in root.iterdir() if path.is_dir()]
        assert any("in/a.txt" in files or ("new" in files and MANIFEST in files) for files in there)
        with pytest.raises(UserError, match="not empty"):
            write(root / "out", overwrite=False)
        state = "old" if (root / "out" / "in").exists() else "new"
        assert disk(root / "out").keys() == {MANIFEST, "in/a.txt" if state == "old" else "new"}
        assert sorted(path.name for path in root.iterdir()) == ["file", "out"]
        # And it is still ours: the next one may replace it.
        write(root / "out", "newer")
        states.add((state, killed))
    assert states == {("old", True), ("new", True), ("new", False)}


def files_after_kills(root: Path) -> None:
    """The old file or the new one is whole; what is left beside it goes with the next writer."""
    states = set()
    for _, killed in killed_at_each_step(root, lambda: write_text(root / "file", "new")):
        states.add(((root / "file").read_text(), killed))
        write_text(root / "file", "newer")
        assert sorted(path.name for path in root.iterdir()) == ["file", "out"]
    assert states == {("old", True), ("new", True), ("new", False)}


@pytest.mark.parametrize("what", ["folders_after_kills", "files_after_kills"])
def test_a_kill_at_any_step_of_a_replacement_loses_neither(what: str, tmp_path: Path):
    """In a process without threads, as it forks."""
    code = f"import pathlib, sys\nfrom {__name__} import {what}\n{what}(pathlib.Path(sys.argv[1]))\n"
    words = [sys.executable, "-c", code, tmp_path / "root"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.soak
def test_fits_that_are_killed_while_they_overwrite_lose_nothing(tmp_path: Path):
    """Real commands, killed at random moments of the writing of their results."""
    seed = int(os.environ.get("CDGM_TEST_SEED", "1"))
    rng = random.Random(seed)
    values = np.random.default_rng(0).normal(size=(2, 30, 4))
    np.savez(tmp_path / "ok.npz", a=values[0], b=values[1])
    out = tmp_path / "out"
    words = [
        sys.executable,
        "-m",
        "cdgm",
        "fit",
        tmp_path / "ok.npz",
        "--background",
        "a",
        "--variant",
        "cvae",
    ]
    words += ["--n-background", "1", "--n-salient", "1", "--members", "1", "--map", "pca", "--max-steps", "5"]
    words += ["--out", out]
    subprocess.run([*words, "--seed", "0"], cwd=ROOT, check=True, capture_output=True)
    begun = "drawing\n"
    longest, kills, seeds = 3.0, 0, set()
    while kills < 25:
        command = [*words, "--overwrite", "--seed", str(kills + 1)]
        with subprocess.Popen(
            command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as fit:
            while fit.stderr.readline() != begun:
                assert fit.poll() is None
            clock = time.monotonic()
            with contextlib.suppress(subprocess.TimeoutExpired):
                fit.wait(rng.uniform(0, longest))
            if fit.poll() is None:
                fit.kill()
                kills += 1
            else:
                longest = time.monotonic() - clock
            fit.stderr.read()
        # The next command puts what is whole in its place.
        with pytest.raises(UserError, match="not empty"):
            write(out, overwrite=False)
        assert folders._difference(out) is None
        assert (out / "report.html").is_file()
        seeds.add(json.loads((out / "provenance.json").read_text())["spec"]["seed"])
        assert sorted(path.name for path in tmp_path.iterdir()) == ["ok.npz", "out"]
    print(f"CDGM_TEST_SEED={seed}: {kills} kills, fits of {len(seeds)} seeds stood in the folder")


def test_folders_above_a_failed_one_do_not_stay(tmp_path: Path):
    with pytest.raises(UserError, match="no data"), atomic_folder(tmp_path / "a" / "b" / "out"):
        raise UserError("no data")
    refused(tmp_path / "a" / ("b" * 300) / "out", "File name too long")
    assert list(tmp_path.iterdir()) == []
    write(tmp_path / "a" / "b" / "out")
    assert (tmp_path / "a" / "b" / "out" / "in").is_dir()


def test_a_name_alone_does_not_make_a_folder_ours(tmp_path: Path):
    for name in (".out.1.part", ".out.2.old", ".out.3.part"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "thesis").write_text("of the user")
    (tmp_path / ".out.3.part" / UNFINISHED).touch()
    write(tmp_path / "new" / "out")
    os.rename(tmp_path / "new" / "out", tmp_path / "out")
    write(tmp_path / "out")
    kept = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("thesis"))
    assert kept == [".out.1.part/thesis", ".out.2.old/thesis"]


def test_an_error_of_another_file_is_told_by_its_name(tmp_path: Path):
    with pytest.raises(UserError, match=r"gone\.txt: No such file"), atomic_folder(tmp_path / "out"):
        (tmp_path / "gone.txt").read_text()
    with pytest.raises(UserError, match="out: cannot be written: No space"), atomic_folder(tmp_path / "out"):
        raise OSError(28, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_no_command_takes_a_folder_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    """The losses that were found: DATA, files beside it, and the fit that is drawn or scored."""
    rng = np.random.default_rng(0)
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "lane1.fastq").write_text("reads")
    (tmp_path / "thesis.docx").write_text("years")
    np.savez(tmp_path / "cells.npz", a=rng.normal(size=(30, 4)), b=rng.normal(size=(30, 4)))
    fit = [
        "--background",
        "a",
        "--variant",
        "cvae",
        "--n-background",
        "1",
        "--n-salient",
        "1",
        "--map",
        "pca",
    ]
    monkeypatch.chdir(tmp_path)
    main(["fit", "cells.npz", *fit, "--max-steps", "5", "--out", "ours"])
    before = {path: path.read_bytes() for path in sorted(tmp_path.rglob("*")) if path.is_file()}
    for arguments in (
        ["fit", "cells.npz", *fit, "--out", "."],
        ["fit", "cells.npz", *fit, "--out", str(tmp_path)],
        ["fit", "cells.npz", *fit, "--out", "raw"],
        ["choose", "dims", "cells.npz", "--background", "a", "--out", "raw"],
        ["plot", "ours", "--out", "ours"],
        ["plot", "ours", "--out", "ours/model"],
        ["evaluate", "ours", "cells.npz", "--out", "ours"],
        ["evaluate", "ours/model", "cells.npz", "--out", "ours"],
    ):
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main([*arguments, "--overwrite"])
        assert stop.value.code == 2
        assert len(capsys.readouterr().err.splitlines()) == 1
        assert {path: path.read_bytes() for path in sorted(tmp_path.rglob("*")) if path.is_file()} == before
