"""The page of claims: verdict, statement, numbers against their values, and the figure that shows it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

from cdgm.claims.findings import ALPHA, FEWEST_SEEDS, Finding
from cdgm.claims.judge import ClaimVerdict, Judged
from cdgm.reports.html import Html, element, join, page
from cdgm.reports.intervals import interval_plot, number, wanted

# Class and symbol: colour is never alone.
MARKS = {
    "reproduced": ("yes", "✓"),
    "not reproduced": ("no", "✗"),
    "inconclusive": ("open", "?"),
    "not run": ("none", "–"),
}
SOURCES = {
    "paper": "Claim of the paper",
    "theory": "Consequence of the theory",
    "ours": "Finding of this project",
}


def claims_page(verdicts: Sequence[ClaimVerdict], of: str = "", up: str = "", study: str = "") -> str:
    """Lay out verdicts on claims.

    Parameters
    ----------
    verdicts
        Claims with their verdicts, in the order of the config.
    of
        Ending of the names of the target's pages: ``""`` or ``_<target>``.
    up
        Path from the page's folder to ``results/``, such as ``"../"``.
    study
        The study whose claims these are; empty for those of a target.
    """
    return page(
        "Claims and verdicts",
        element(
            "nav",
            element("a", "all results", href=f"{up}index{of}.html"), " · ",
            element("a", "the same as a table", href=f"{study or f'claims{of}'}.csv"),
        ),
        element("h1", "Claims and verdicts"),
        element(
            "p",
            "Each claim was written down with its rule before the run. ",
            element("b", "Reproduced"), ": in every condition, the whole interval lies on the shaded"
            " side of the dashed value. ",
            element("b", "Not reproduced"), ": in one of them, it lies wholly on the other side. ",
            element("b", "Inconclusive"), ": neither.",
        ),
        element(
            "p",
            f"Intervals of the median over seeds are exact, of {100 * (1 - ALPHA):.0f} % or more where there"
            " are seeds enough (of alternatives, wider: the error is shared among them). Fewer than"
            f" {FEWEST_SEEDS} seeds give no verdict."
            " Differences and ratios are formed seed by seed.",
            class_="small",
        ),
        counts(v.verdict for v in verdicts),
        *(_article(v, up) for v in verdicts),
    )  # fmt: skip


def badge(verdict: str) -> Html:
    """A verdict as colour, symbol and word."""
    class_, symbol = MARKS[verdict]
    return element("span", f"{symbol} {verdict}", class_=f"verdict {class_}")


def counts(verdicts: Iterable[str]) -> Html:
    """How often each verdict was reached."""
    found = Counter(verdicts)
    items = (element("li", badge(verdict), f" {found[verdict]}") for verdict in MARKS if found[verdict])
    return element("ul", *items, class_="counts")


def _article(result: ClaimVerdict, up: str) -> Html:
    claim = result.claim
    said = f"{SOURCES[claim.source]} · {result.name} · study {claim.study}"
    text = [
        element("p", badge(result.verdict), class_="words"),
        element("h3", claim.statement),
        element("p", said, class_="small"),
    ]
    if result.optimisation:
        text.append(element("p", element("b", "Quality of the fits: "), result.optimisation))
    text += [element("p", note, class_="caption") for note in (claim.note, result.reason) if note]
    text.append(element("ul", *map(_entry, result.judged), class_="conditions"))
    picture = Html("")
    if result.verdict != "not run":
        path = f"{up}figures/{claim.study}/{claim.figure}"
        picture = element(
            "a",
            element(
                "img", src=f"{path}.png", alt=f"Figure {claim.figure} of study {claim.study}", loading="lazy"
            ),
            href=f"{path}.pdf",
        )
    return element("article", element("div", *text), element("div", picture), id=result.name)


def _entry(entry: Judged) -> Html:
    if len(entry.findings) == 1:
        return element("li", *_finding(entry.findings[0]))
    shown, place = [], None
    for finding in entry.findings:
        if finding.alternative != place:
            place = finding.alternative
            shown.append(element("li", element("b", f"at {place}")))
        shown.append(element("li", *_finding(finding)))
    head = element("p", entry.name, " ", badge(entry.verdict), class_="words")
    return element("li", head, element("ul", *shown))


def _finding(finding: Finding) -> list[Html]:
    condition = finding.condition
    relation, value = condition.wanted
    head = element("p", condition.name, " ", badge(finding.verdict), class_="words")
    if finding.verdict == "not run":
        return [head, element("p", f"wanted {wanted(relation, value)}", class_="small words")]
    numbers = join(
        [
            "median ",
            element("b", number(finding.estimate)),
            f" [{number(finding.low)}, {number(finding.high)}]{_coverage(finding)}, wanted"
            f" {wanted(relation, value)}; {finding.n} of {finding.n_all} seeds",
            f": {finding.reason}" if finding.reason else "",
        ]
    )
    plot = interval_plot(finding.estimate, finding.low, finding.high, relation, value, finding.verdict)
    return [head, plot, element("p", numbers, class_="small words")]


def _coverage(finding: Finding) -> str:
    """The coverage that an interval attains, where there is one."""
    return "" if math.isnan(finding.coverage) else f" ({100 * finding.coverage:.1f} %)"
