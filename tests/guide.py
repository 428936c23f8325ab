"""Reads the pages of the guide: fenced blocks, commands, anchors."""

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


def example(title: str) -> dict[str, list[str]]:
    """Blocks of a worked example of docs/extending.md by language, in their order."""
    text = (DOCS / "extending.md").read_text(encoding="utf-8")
    section = re.split(r"^## ", text.split(f"\n## Worked example: {title}\n")[1], flags=re.MULTILINE)[0]
    found: dict[str, list[str]] = {}
    for language, block in re.findall(r"^```(\S*)\n(.*?)^```$", section, re.MULTILINE | re.DOTALL):
        found.setdefault(language, []).append(block)
    return found


def with_example(checkout: Path, title: str) -> Path:
    """A checkout after a worked example was followed: its module, its line, its caption, and my.yaml."""
    found = example(title)
    for block in found.get("python", []):
        if path := re.match(r"# (cdgm/\S+\.py)\n", block):
            (checkout / path[1]).write_text(block, encoding="utf-8")
        else:
            module = re.search(r': "([\w.]+):', block)[1]
            table = (checkout / module.replace(".", "/")).with_name("__init__.py")
            text = table.read_text(encoding="utf-8")
            assert text.count("    {\n") == 1, table
            table.write_text(text.replace("    {\n", f"    {{\n        {block}"), encoding="utf-8")
    for caption in found.get("rst", []):
        (checkout / "report" / "steps.rst").write_text(caption, encoding="utf-8")
    (checkout / "my.yaml").write_text("".join(found["yaml"]), encoding="utf-8")
    return checkout


def anchors(page: Path) -> set[str]:
    """Anchors of the headings, as git hosts form them."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
