"""Building HTML: every text is escaped by default, and all pages share one look."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence


class Html(str):
    """Text that is HTML already, and so is not escaped again."""


def element(tag: str, *children: str, **attributes: str | int | float | None) -> Html:
    """An element with its children; any text that isn't :class:`Html` is escaped.

    Parameters
    ----------
    tag
        Name of the element.
    children
        Texts and elements.
    attributes
        Attributes; ``class_`` stands for ``class``, and an underscore inside a name for a hyphen. None
        leaves one out.
    """
    written = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{html.escape(str(value))}"'
        for name, value in attributes.items()
        if value is not None
    )
    if tag in ("img", "line", "rect", "circle", "meta"):
        return Html(f"<{tag}{written}>" if tag in ("img", "meta") else f"<{tag}{written}/>")
    return Html(f"<{tag}{written}>{join(children)}</{tag}>")


def join(parts: Iterable[str], between: str = "") -> Html:
    """Parts one after the other, escaped where they are no HTML."""
    return Html(between.join(part if isinstance(part, Html) else html.escape(part) for part in parts))


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Html:
    """A table that scrolls by itself where the page is too narrow for it."""
    head = element("thead", element("tr", *(element("th", cell, scope="col") for cell in header)))
    body = element("tbody", *(element("tr", *(element("td", cell) for cell in row)) for row in rows))
    return element("div", element("table", head, body), class_="wide", tabindex=0)


def page(title: str, *body: str) -> str:
    """A whole page."""
    head = join(
        [
            element("meta", charset="utf-8"),
            element("meta", name="viewport", content="width=device-width, initial-scale=1"),
            element("title", title),
            Html(f"<style>{STYLE}</style>"),
        ],
        "\n",
    )
    parts = ["<!DOCTYPE html>", '<html lang="en">', "<head>", head, "</head>", "<body>"]
    return "\n".join([*parts, join(body, "\n"), "</body>", "</html>"]) + "\n"


# Colours of verdicts stay apart under colour blindness and in print, and never stand without their word.
STYLE = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.2rem clamp(.8rem, 3vw, 2.5rem) 3rem; max-width: 82rem; color: #1b1b1b;
  background: #fff; font: 16px/1.5 system-ui, "DejaVu Sans", Arial, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: .3em 0; }
h2 { font-size: 1.25rem; margin: 2em 0 .5em; border-bottom: 2px solid #ddd; }
h3 { font-size: 1.05rem; line-height: 1.35; margin: .3em 0 .5em; }
a { color: #00518a; }
p, .caption { max-width: 46rem; }
nav, .small { font-size: .875rem; color: #555; }
figure { margin: 0 0 2rem; }
figure img, article img { max-width: 100%; height: auto; border: 1px solid #e2e2e2; }
.caption { font-size: .875rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .875rem; }
th, td { text-align: left; vertical-align: top; padding: .3rem .8rem .3rem 0;
  border-bottom: 1px solid #e2e2e2; overflow-wrap: normal; }
.counts { display: flex; flex-wrap: wrap; gap: .5rem 1.2rem; padding: 0; list-style: none; }
.verdict { display: inline-block; padding: .05rem .55rem; border: 2px solid; border-radius: .3rem;
  font-weight: 600; white-space: nowrap; }
.yes { color: #fff; background: #0064a3; border-color: #0064a3; }
.no { color: #fff; background: #a63c00; border-color: #a63c00; }
.open { color: #333; background: #fff; border-color: #666; border-style: dashed; }
.none { color: #555; background: #f3f3f3; border-color: #ccc; }
article { display: grid; gap: .5rem 2rem; padding: 1.2rem 0; border-top: 1px solid #ccc; }
article > div { min-width: 0; }
.conditions { list-style: none; margin: .6rem 0; padding: 0; }
.conditions li { padding: .5rem 0; border-top: 1px dotted #bbb; }
.conditions svg { display: block; width: 100%; max-width: 30rem; height: auto; }
.conditions ul { list-style: none; padding-left: 1rem; border-left: 3px solid #ddd; }
.words { margin: 0; }
@media (min-width: 62rem) { article { grid-template-columns: minmax(0, 1fr) minmax(0, 26rem); } }
"""
