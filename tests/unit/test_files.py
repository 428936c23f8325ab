"""Files appear whole or not at all: after a kill, on a full disk, in a folder that can't be written to."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from cdgm.utils.errors import UserError
from cdgm.utils.files import atomic, require_writable, write_csv, write_rows, write_text

# Writers of each format that the project writes; each makes some 100 kB in the working directory.
WRITERS = {
    "npz": "files.write_npz('a.npz', {'x': np.zeros(20_000), 'y': np.ones(9)})",
    "json": "files.write_json('a.json', list(range(20_000)))",
    "csv": "\nwith files.atomic('a.csv') as path: pd.DataFrame({'x': range(20_000)}).to_csv(path)",
    "parquet": (
        "\nwith files.atomic('a.parquet') as path:"
        " pd.DataFrame({'x': np.random.default_rng(0).random(20_000)}).to_parquet(path)"
    ),
    "figure": (
        "from cdgm.plotting.saving import save\nfrom cdgm.plotting.theme import new_figure\n"
        "f = new_figure(6, 6)\n"
        "f.subplots().scatter(*np.random.default_rng(0).random((2, 5_000)))\n"
        "save(f, pd.DataFrame({'x': [1]}), 'a')"
    ),
}
IMPORTS = "import os, resource\nimport numpy as np\nimport pandas as pd\nfrom cdgm.utils import files\n"


def run(code: str, folder: Path, **options: object) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    return subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment, text=True, **pipes)


def as_command(body: str) -> str:
    """Code of a command line with this body."""
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    return f"{IMPORTS}from cdgm.utils.command_line import log, run\ndef main():\n{lines}\nrun(main)\n"


@pytest.mark.slow
@pytest.mark.parametrize("writer", WRITERS)
def test_a_file_that_does_not_fit_is_told_in_one_line(writer: str, tmp_path: Path):
    # A limit on the size of files: the system refuses to write, as it does on a full disk.
    limited = "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
    done = run(as_command(limited + WRITERS[writer]), tmp_path)
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: a.")
    assert line.endswith("cannot be written: File too large")
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_goes_with_the_next_write(tmp_path: Path):
    done = run(
        "import os\nfrom cdgm.utils.files import atomic\n"
        "with atomic('table.v1.csv') as path:\n"
        "    path.write_text('half')\n"
        "    os.kill(os.getpid(), 9)\n",
        tmp_path,
    )
    assert done.returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    assert ".part" in left.name
    # Not the one that writes a file with a longer name.
    (tmp_path / ".table.v1.b.77.part.csv").write_text("of another")
    write_text(tmp_path / "table.v1.csv", "whole")
    assert {file.name for file in tmp_path.iterdir()} == {"table.v1.csv", ".table.v1.b.77.part.csv"}
    assert (tmp_path / "table.v1.csv").read_text() == "whole"


def test_a_file_is_on_the_disk_before_it_gets_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """So that a power failure leaves a whole file or none."""
    did = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (did.append(os.fstat(handle).st_size), fsync(handle)))
    monkeypatch.setattr(os, "replace", lambda *paths: (did.append("named"), replace(*paths)))
    write_text(tmp_path / "a.txt", "whole")
    assert did == [5, "named"]


def test_an_error_while_writing_keeps_the_older_file(tmp_path: Path):
    write_text(tmp_path / "a.txt", "old")

    def fail() -> None:
        with atomic(tmp_path / "a.txt") as temporary:
            temporary.write_text("new")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("a.txt", "old")]


def test_a_job_ends_at_once_and_whole(tmp_path: Path):
    """Without taking its libraries down, but with what it printed, its handlers and its exit code."""
    body = (
        "import atexit, gc, sys\nfrom cdgm.utils.command_line import run_job\n"
        "from cdgm.utils.errors import UserError\n"
        "class Kept:\n"
        "    def __del__(self): print('taken down')\n"
        "kept = Kept()\n"
        "atexit.register(print, 'handled')\n"
        "def main():\n"
        "    print('done', gc.isenabled())\n"
        "    if 'bad' in sys.argv: raise UserError('wrong')\n"
        "gc.disable()\n"
    )
    good = run(f"{body}run_job(main)\n", tmp_path)
    assert (good.returncode, good.stdout, good.stderr) == (0, "done True\nhandled\n", "")
    bad = run(f"{body}sys.argv.append('bad')\nrun_job(main)\n", tmp_path)
    assert (bad.returncode, bad.stderr) == (2, "error: wrong\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_an_error_is_told_even_if_its_log_is_on_a_full_disk(tmp_path: Path):
    body = "log('progress')\nfiles.write_text('a.txt', 'kept')\nfiles.read_json('missing.json')"
    with open("/dev/full", "w") as full:
        done = run(as_command(body), tmp_path, stderr=full)
    assert done.returncode == 2
    assert done.stdout == "error: missing.json: cannot be read: No such file or directory\n"
    assert (tmp_path / "a.txt").read_text() == "kept"


def test_a_file_in_the_way_of_a_folder_is_named(tmp_path: Path):
    (tmp_path / "results").write_text("")
    with pytest.raises(UserError, match=r"results: not a folder that can be written to"):
        require_writable(tmp_path / "results" / "fits")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_named(tmp_path: Path):
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match="can be written to"):
        require_writable(tmp_path / "results")


def test_rows_are_written_as_their_table_would_be(tmp_path: Path):
    rows = [
        {"text": 'a, "b"', "whole": 3, "yes": True, "number": 1 / 3},
        {"text": "", "whole": -1, "yes": False, "number": float("nan")},
        {"text": "c", "whole": 0, "yes": True, "number": 1e-12},
    ]
    write_rows(tmp_path / "rows.csv", rows)
    write_csv(tmp_path / "table.csv", pd.DataFrame(rows))
    assert (tmp_path / "rows.csv").read_bytes() == (tmp_path / "table.csv").read_bytes()
