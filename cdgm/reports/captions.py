"""Captions of figures (``report/<figure>.rst``): the question that a figure answers, and its explanation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from docutils import nodes
from docutils.core import publish_doctree, publish_from_doctree
from docutils.utils import SystemMessage
from docutils.writers.html5_polyglot import Writer
from jinja2 import StrictUndefined, Template, TemplateError

from cdgm.utils.errors import UserError, bad_input

_SETTINGS = {
    "_disable_config": True,
    "file_insertion_enabled": False,
    "raw_enabled": False,
    "warning_stream": False,
    "halt_level": 2,  # a warning: a mark that is not closed
}


@dataclass(frozen=True)
class Caption:
    """A caption.

    Attributes
    ----------
    question
        The question that the figure answers: plain text.
    body
        What the figure shows, what to conclude and what not to conclude: HTML.
    """

    question: str
    body: str


def read_caption(path: Path, study: str) -> Caption:
    """Read a caption of reStructuredText that begins with the figure's question in bold.

    Parameters
    ----------
    path
        ``report/<figure>.rst``.
    study
        Replaces ``{{ snakemake.wildcards.study }}``, as Snakemake's own report does.

    Raises
    ------
    UserError
        If the file cannot be read, is no valid reStructuredText, or does not begin with bold text.
    """
    try:
        text = path.read_text(encoding="utf-8")
        job = SimpleNamespace(wildcards=SimpleNamespace(study=study))
        filled = Template(text, undefined=StrictUndefined).render(snakemake=job)
        document = publish_doctree(filled, source_path=path.name, settings_overrides=_SETTINGS)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    except (TemplateError, SystemMessage) as error:
        raise UserError(f"{path}: not a valid caption: {' '.join(str(error).split())}") from error
    first = document.next_node(nodes.paragraph)
    if first is None or not isinstance(first[0], nodes.strong):
        shown = "" if first is None else first.astext()[:40]
        raise bad_input(str(path), "", shown, "a caption that begins with its question in bold: **...?**")
    question = " ".join(first[0].astext().split())
    first.remove(first[0])
    if not first.astext().strip():
        first.parent.remove(first)
    writer = Writer()
    publish_from_doctree(document, writer=writer, settings_overrides=_SETTINGS)
    parts: dict[str, Any] = {**writer.parts}
    return Caption(question, parts["fragment"].strip())


def questions(folder: Path) -> dict[str, str]:
    """Figure to the question that it answers, for all captions of a folder in the order of their names."""
    files = sorted(file for file in folder.glob("*.rst") if file.stem != "workflow")
    return {file.stem: read_caption(file, "any").question for file in files}
