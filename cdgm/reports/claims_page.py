"""The page of claims: statement, verdict, numbers beside their thresholds, and the figure that shows them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cdgm.claims.judge import ClaimVerdict
from cdgm.reports.intervals import interval_plot
from cdgm.reports.rendering import render
from cdgm.reports.verdicts import BADGES, SOURCES, verdict_counts


def claims_page(
    verdicts: Sequence[ClaimVerdict],
    of: str = "",
    up: str = "",
    study: str = "",
    folder: Path | None = None,
    rules: str = "unknown",
) -> str:
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
    folder
        The page's folder. A figure that is not drawn there is named by the command that draws it; without a
        folder every figure is shown.
    rules
        The commit that fixed the rules (:func:`cdgm.utils.provenance.rules_commit`).

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
        rules=rules,
        groups={source: found for source, found in groups.items() if found},
        not_run=[v for v in verdicts if v.verdict == "not run"],
        counts=verdict_counts([(v.claim.source, v.verdict) for v in verdicts]),
        badges=BADGES,
        sources=SOURCES,
        interval_plot=interval_plot,
        is_drawn=lambda figure: folder is None or (folder / f"{figure}.png").is_file(),
    )
