"""The pages of the guide as the tests see them: fenced blocks, commands, anchors."""

from __future__ import annotations

import itertools
import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
#: Pages of the guide, in the order of their names; notes beside the pictures are no page.
PAGES = sorted(page for page in DOCS.rglob("*.md") if page.parent.name != "images")
#: All that is read as Markdown.
TEXTS = [*PAGES, DOCS / "images" / "README.md", ROOT / "README.md", ROOT / "CONTRIBUTING.md"]


def name_of(page: Path) -> str:
    """A page for messages and ids of tests."""
    return page.relative_to(ROOT).as_posix()


def fences(page: Path) -> list[tuple[str, str]]:
    """Language and text of each fenced block."""
    text = page.read_text(encoding="utf-8")
    return re.findall(r"^```(\S*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def blocks(page: Path, language: str) -> list[str]:
    """Texts of the blocks in one language."""
    return [text for found, text in fences(page) if found == language]


def commands(page: Path) -> list[list[str]]:
    """Words of each command in the blocks of shell: comments dropped, lines joined, braces expanded."""
    joined = "\n".join(blocks(page, "sh")).replace("\\\n", " ")
    words = (shlex.split(line, comments=True) for line in joined.splitlines())
    return [list(itertools.chain.from_iterable(map(_expanded, line))) for line in words if line]


def inline_commands(page: Path) -> list[list[str]]:
    """Commands in the prose that say ``snakemake`` or ``cdgm`` with something behind it."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    found = re.findall(r"`((?:snakemake|cdgm) [^`]+)`", " ".join(text.split()))
    return [shlex.split(command) for command in found if not command.endswith(" ...")]


def _expanded(word: str) -> list[str]:
    found = re.fullmatch(r"(.*)\{([^{}]+,[^{}]+)\}(.*)", word)
    return [word] if found is None else [found[1] + part + found[3] for part in found[2].split(",")]


def anchors(page: Path) -> set[str]:
    """Anchors of the headings, as git hosts form them."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
