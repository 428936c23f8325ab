"""Captions of figures as HTML: the part of reStructuredText that they are written in."""

from __future__ import annotations

import html
import re

from cdgm.reports.html import Html, element, join

# What stands between the marks begins and ends with something visible, as in reStructuredText.
_INLINE = re.compile(
    r"``(?P<code>.+?)``|\*\*(?P<b>\S(?:.*?\S)??)\*\*|\*(?P<em>\S(?:.*?\S)??)\*", re.DOTALL
)  # fmt: skip
_STUDY = re.compile(r"{{\s*snakemake\.wildcards\.study\s*}}")


def caption_html(text: str, study: str) -> Html:
    """A caption as paragraphs.

    Paragraphs, ``**bold**``, ``*emphasis*`` and double backquotes are understood, and the place that
    Snakemake's report fills with the name of the study; the rest stays as it is written.

    Parameters
    ----------
    text
        Text of ``report/<figure>.rst``.
    study
        Name of the study.
    """
    paragraphs = re.split(r"\n\s*\n", _STUDY.sub(lambda _: study, text).strip())
    return join(element("p", _inline(" ".join(p.split()))) for p in paragraphs if p)


def _inline(text: str) -> Html:
    parts, end = [], 0
    for match in _INLINE.finditer(text):
        parts.append(html.escape(text[end : match.start()], quote=False))
        parts.append(element(match.lastgroup or "", match[match.lastgroup or 0]))
        end = match.end()
    return Html("".join([*parts, html.escape(text[end:], quote=False)]))
