"""What is promised for every input: a right result, or one line that names what is wrong, and nothing lost.

The tests of this folder generate inputs. `make test` tries some, always the same; `make soak` thousands.
"""

import contextlib
import hashlib
import io
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hypothesis import event, settings

from cdgm.utils.errors import UserError

#: Processor seconds after which an input counts as one that hangs.
HANGS_SECONDS = 20
#: Characters of a line: more can't be read.
LONGEST_LINE = 3_000


def examples(share: float = 1) -> settings:
    """Settings of a test that costs more or less than others: its share of the examples of the profile."""
    return settings(max_examples=max(2, round(settings.default.max_examples * share)))


def kept(act: Callable[[], Any]) -> tuple[Any, str | None]:
    """The result of a call, or the one line of its refusal; every other exception passes through."""
    begun = time.process_time()
    try:
        result, line = act(), None
    except UserError as error:
        result, line = None, str(error)
        check_line(line)
    assert time.process_time() - begun < HANGS_SECONDS
    event("accepted" if line is None else "refused")
    return result, line


def check_line(line: str) -> None:
    """It is one line of a length that can be read, in printable characters, and has a place and a reason."""
    assert line.isprintable(), line
    assert len(line) < LONGEST_LINE, line
    assert ": " in line, line


def command(call: Callable[[], None]) -> tuple[int, str, list[str]]:
    """Exit code of a command that runs in this process, what it prints, and its lines of errors."""
    out, err = io.StringIO(), io.StringIO()
    code = 0
    begun = time.process_time()
    with contextlib.redirect_stdout(_Console(out)), contextlib.redirect_stderr(_Console(err)):
        try:
            call()
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    assert time.process_time() - begun < HANGS_SECONDS
    lines = err.getvalue().splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    if code == 0:
        assert errors == [], lines
    else:
        # Lines of progress may stand before it.
        assert len(errors) == 1, lines
        assert lines[-1] == errors[0], lines
        assert all(line.startswith("ComparativeModel(") for line in lines[:-1]), lines
        assert out.getvalue() == ""
        check_line(errors[0].removeprefix("error: "))
    return code, out.getvalue(), errors


class _Console(io.TextIOBase):
    """Text that can be written to; without a file of the system below it."""

    def __init__(self, text: io.StringIO) -> None:
        self.text = text

    def write(self, text: str) -> int:
        # As a terminal in UTF-8 does.
        text.encode("utf-8", "surrogateescape")
        return self.text.write(text)


def disk(folder: Path) -> dict[str, str]:
    """Everything below a folder: its path, and the digest of a file or the target of a link."""
    return dict(_entries(folder, folder))


def _entries(folder: Path, root: Path) -> Iterator[tuple[str, str]]:
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        name = os.path.relpath(entry.path, root)
        if entry.is_symlink():
            yield name, f"link to {os.readlink(entry.path)}"
        elif entry.is_dir():
            yield name, "folder"
            yield from _entries(Path(entry.path), root)
        elif entry.is_file():
            yield name, hashlib.sha256(Path(entry.path).read_bytes()).hexdigest()
        else:
            yield name, "neither file nor folder"
