"""Run tutorials and write into them what they print and draw; `make tutorials` does it for all.

A tutorial is a page of Markdown that works like a notebook. Its blocks of Python and of commands run from top
to bottom, in one folder and with common names. A block of `text` after them is what they print. Pictures
after a block of Python are the figures that it draws, a picture after commands is the page of the fit that
they write.
"""

import contextlib
import io
import os
import re
import shlex
import shutil
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import scanpy as sc

from cdgm.cli.main import main as cdgm_main

#: Columns of a printed line that a page shows in full.
COLUMNS = 90
#: A fenced block, or a picture in a line of its own.
PART = re.compile(r"^```(?P<language>\S*)\n(?P<text>.*?)^```$|^!\[[^\]]*\]\((?P<picture>\S+)\)$", re.M | re.S)
#: The sentence of a page that tells its cost.
SECONDS = re.compile(r"(?<=took )\d+(?=\s+seconds\s+of\s+processor\s+time)")
DPI = 110


@dataclass
class Cell:
    """A block that runs, and what the page shows of its results.

    ``printed`` is the place of what it prints in the text of the page, None if the page does not show it.
    """

    language: str
    code: str
    printed: tuple[int, int] | None = None
    pictures: list[str] = field(default_factory=list)


def cells(text: str) -> list[Cell]:
    """The blocks of a page that run, in their order."""
    found: list[Cell] = []
    for part in PART.finditer(text):
        language = part["language"]
        if language in ("python", "sh"):
            found.append(Cell(language, part["text"]))
        elif language == "text":
            if found[-1].printed is not None:
                raise ValueError(f"two blocks of text after one block of code: {part[0]}")
            found[-1].printed = part.span("text")
        elif part["picture"]:
            found[-1].pictures.append(part["picture"])
    return found


def commands(code: str) -> list[list[str]]:
    """Words of each command of a block."""
    return [shlex.split(line, comments=True) for line in code.replace("\\\n", " ").splitlines() if line]


def execute(cell: Cell, names: dict[str, Any], page: str) -> str:
    """Run a block; what it printed, in lines of a page's width. Its figures stay open."""
    plt.close("all")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        if cell.language == "python":
            exec(compile(cell.code, page, "exec"), names)
        else:
            for program, *arguments in commands(cell.code):
                if program != "cdgm":
                    raise ValueError(f"{page}: {program}: only cdgm is a command of a tutorial")
                cdgm_main(arguments)
    wrapped = (
        line if len(line) <= COLUMNS else textwrap.fill(line, COLUMNS, subsequent_indent="    ")
        for line in printed.getvalue().splitlines()
    )
    return "".join(f"{line.rstrip()}\n" for line in wrapped)


@contextlib.contextmanager
def notebook(folder: Path) -> Iterator[None]:
    """Run in a folder, with figures that stay open as in a notebook."""
    shown, sc.settings.autoshow = sc.settings.autoshow, False
    try:
        with contextlib.chdir(folder):
            yield
    finally:
        sc.settings.autoshow = shown
        plt.close("all")


def run(page: Path, folder: Path) -> None:
    """Run a page in an empty folder, and write its outputs and pictures."""
    from docs.figures.pictures import photograph, shrink

    text, names = page.read_text(encoding="utf-8"), {}
    outputs: list[tuple[tuple[int, int], str]] = []
    begun = processor_seconds()
    with notebook(folder):
        for cell in cells(text):
            before = processor_seconds()
            printed = execute(cell, names, page.name)
            print(f"{processor_seconds() - before:6.1f} s: {cell.code.splitlines()[0]}", flush=True)
            if cell.printed is not None:
                outputs.append((cell.printed, printed))
            targets = [page.parent / picture for picture in cell.pictures]
            if cell.language == "sh":
                *_, last = commands(cell.code)
                for target in targets:
                    photograph(Path(last[last.index("--out") + 1]) / "report.html", target)
                continue
            for target, number in zip(targets, plt.get_fignums(), strict=True):
                with tempfile.TemporaryDirectory() as place:
                    drawn = Path(place) / "figure.png"
                    plt.figure(number).savefig(drawn, dpi=DPI, bbox_inches="tight")
                    shrink(drawn, target)
    for (start, end), printed in reversed(outputs):
        text = text[:start] + printed + text[end:]
    page.write_text(SECONDS.sub(f"{processor_seconds() - begun:.0f}", text), encoding="utf-8")


def processor_seconds() -> float:
    """Seconds of processor time of this process and of those that it started."""
    return sum(os.times()[:4])


def main(pages: list[Path], build: Path) -> None:
    for page in pages:
        folder = build / page.stem
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        run(page.resolve(), folder)


if __name__ == "__main__":
    main([Path(name) for name in sys.argv[2:]], Path(sys.argv[1]))
