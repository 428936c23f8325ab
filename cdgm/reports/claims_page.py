"""The page of claims: statement, verdict, numbers beside their thresholds, and the figure that shows them."""

from __future__ import annotations

from collections.abc import Sequence

from cdgm.claims.findings import ALPHA, FEWEST_SEEDS, Finding, fewest_seeds
from cdgm.claims.judge import ClaimVerdict
from cdgm.reports.intervals import interval_plot
from cdgm.reports.rendering import render
from cdgm.reports.verdicts import BADGES, SOURCES, verdict_counts

STATISTICS = {"median": "median", "min": "smallest of the seeds", "max": "largest of the seeds"}


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
        The study whose claims these are; empty for those of all studies of a target.

    Returns
    -------
    str
        HTML.
    """
    judged = [v for v in verdicts if v.verdict != "not run"]
    groups = {source: [v for v in judged if v.claim.source == source] for source in SOURCES}
    return render(
        "claims.html.j2",
        study=study,
        up=up,
        table=f"{study or f'claims{of}'}.csv",
        index=f"{up}index{of}.html",
        groups={source: found for source, found in groups.items() if found},
        not_run=[v for v in verdicts if v.verdict == "not run"],
        counts=verdict_counts([(v.claim.source, v.verdict) for v in verdicts]),
        badges=BADGES,
        sources=SOURCES,
        statistics=STATISTICS,
        coverage=round(100 * (1 - ALPHA)),
        fewest=FEWEST_SEEDS,
        why=why_inconclusive,
        interval_plot=interval_plot,
    )


def why_inconclusive(finding: Finding, alternatives: int) -> str:
    """Say why a condition has no verdict; empty for one that has."""
    if finding.verdict != "inconclusive":
        return ""
    needed = fewest_seeds(alternatives)
    if finding.n < needed:
        return f"a verdict needs {needed}"
    if 2 * finding.n < finding.n_all:
        return "more than half of the seeds diverged or have no score"
    return "the threshold lies inside the interval"
