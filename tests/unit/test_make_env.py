"""``make env``: an install that was interrupted is made anew, one that is whole is left alone.

A stand-in for Python makes stand-ins of environments, so that nothing is installed.
"""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Notes what it is asked for; kills its whole process group, make and all, where a file says at which step.
PYTHON = """#!/bin/bash
echo "$*" >> "$NOTES/asked"
case "$*" in
    --version) echo "Python 3.11.0" ;;
    "-m venv "*) mkdir -p "$3/bin" && cp "$NOTES/python" "$3/bin/python" ;;
esac
if [ -e "$NOTES/die" ] && [[ "$*" == *"$(cat "$NOTES/die")"* ]]; then
    rm "$NOTES/die"
    touch .venv/half
    kill -KILL 0
fi
"""
LOCK, PROJECT = "-r requirements.lock", "--editable ."

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="no make here")


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    """Where the stand-in is, and what it notes."""
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "python").write_text(PYTHON, encoding="utf-8")
    (folder / "python").chmod(0o755)
    return folder


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What ``make env`` needs, under a path that is not plain."""
    folder = tmp_path / "a blank and an ü"
    folder.mkdir()
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        shutil.copyfile(ROOT / name, folder / name)
    return folder


def make_env(checkout: Path, notes: Path, python: object = None) -> tuple[int, list[str], str]:
    """Exit code, what the stand-in was asked for, and what was said."""
    asked = notes / "asked"
    asked.unlink(missing_ok=True)
    environment = {"PATH": "/usr/bin:/bin", "NOTES": str(notes), "LC_ALL": "C"}
    done = subprocess.run(
        ["make", "--no-print-directory", "env", f"PYTHON={python or notes / 'python'}"],
        cwd=checkout,
        env=environment,
        capture_output=True,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    lines = asked.read_text(encoding="utf-8").splitlines() if asked.exists() else []
    return done.returncode, [line for line in lines if " pip " in line or " venv " in line], done.stderr


def steps(asked: list[str]) -> list[str]:
    named = {"venv": "-m venv", "lock": LOCK, "project": PROJECT}
    return [name for line in asked for name, part in named.items() if part in line]


def touch_lock(checkout):
    """Touch the lock file until it is newer than what was made of it: file times have steps of some ms."""
    lock, stamp = checkout / "requirements.lock", checkout / ".venv/lock.stamp"
    while lock.stat().st_mtime_ns <= stamp.stat().st_mtime_ns:
        os.utime(lock)


def test_it_installs_once(checkout, notes):
    code, asked, said = make_env(checkout, notes)
    assert (code, steps(asked)) == (0, ["venv", "lock", "project"]), said
    assert make_env(checkout, notes)[:2] == (0, [])
    # A checkout or a rebase touches files.
    touch_lock(checkout)
    code, asked, _ = make_env(checkout, notes)
    assert (code, steps(asked)) == (0, ["project"])
    with (checkout / "requirements.lock").open("a", encoding="utf-8") as file:
        file.write("another==1.0\n")
    code, asked, _ = make_env(checkout, notes)
    assert (code, steps(asked)) == (0, ["venv", "lock", "project"])


@pytest.mark.parametrize("step", ["-m venv", LOCK])
def test_a_half_made_environment_is_replaced(step, checkout, notes):
    (notes / "die").write_text(step, encoding="utf-8")
    assert make_env(checkout, notes)[0] == -signal.SIGKILL
    assert (checkout / ".venv/half").exists()
    code, asked, said = make_env(checkout, notes)
    assert (code, steps(asked)) == (0, ["venv", "lock", "project"]), said
    assert not (checkout / ".venv/half").exists()
    assert make_env(checkout, notes)[:2] == (0, [])


def test_an_interrupted_install_of_the_project_is_done_again(checkout, notes):
    (notes / "die").write_text(PROJECT, encoding="utf-8")
    assert make_env(checkout, notes)[0] == -signal.SIGKILL
    code, asked, _ = make_env(checkout, notes)
    assert (code, steps(asked)) == (0, ["project"])


def test_without_a_python_it_says_so_in_one_line(checkout, notes):
    for name in ("bash", "make", "tr", "grep", "paste", "cmp", "touch", "rm", "cp", "cat", "mkdir", "awk"):
        if found := shutil.which(name):
            (notes / name).symlink_to(found)
    done = subprocess.run(
        [shutil.which("make"), "--no-print-directory", "env", "PYTHON=python-that-is-not-there"],
        cwd=checkout,
        env={"PATH": str(notes)} | {"NOTES": str(notes)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "needs Python 3.11 or later" in line
    assert not (checkout / ".venv").exists()
