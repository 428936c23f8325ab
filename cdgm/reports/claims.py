"""The page of claims: verdict, statement, numbers against their values, and the figure that shows it."""

from __future__ import annotations

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
STATISTICS = {"median": "median", "min": "smallest of the seeds", "max": "largest of the seeds"}


def claims_page(verdicts: Sequence[ClaimVerdict], of: str = "") -> str:
    """The page; links are relative to ``results/``, and ``of`` is the ending of its files' names."""
    return page(
        "Claims and verdicts",
        element(
            "nav",
            element("a", "all results", href=f"index{of}.html"), " · ",
            element("a", "the same as a table", href=f"claims{of}.csv"),
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
            f"Intervals are {100 * (1 - ALPHA):.0f} % bootstrap intervals over seeds (of alternatives,"
            f" wider: the error is shared among them). Fewer than {FEWEST_SEEDS} seeds give no verdict."
            " Differences and ratios are formed seed by seed.",
            class_="small",
        ),
        counts(v.verdict for v in verdicts),
        *(_article(v) for v in verdicts),
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


def _article(result: ClaimVerdict) -> Html:
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
        path = f"figures/{claim.study}/{claim.figure}"
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
    form = STATISTICS.get(
        condition.statistic, f"share of seeds {wanted(condition.relation, condition.value)}"
    )
    numbers = join(
        [
            f"{form} ",
            element("b", number(finding.estimate)),
            f" [{number(finding.low)}, {number(finding.high)}], wanted {wanted(relation, value)};"
            f" {finding.n} of {finding.n_all} seeds",
        ]
    )
    plot = interval_plot(finding.estimate, finding.low, finding.high, relation, value, finding.verdict)
    return [head, plot, element("p", numbers, class_="small words")]
