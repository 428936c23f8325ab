"""The first page of the results: verdicts, figures by the question they answer, tables, provenance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from cdgm.reports.captions import Caption
from cdgm.reports.rendering import many, render
from cdgm.reports.verdicts import BADGES, SOURCES, count_sentence, verdict_counts

#: Ending of a study's table to what it holds.
TABLES = {
    ".csv": "all scores",
    "_summary.csv": "medians with intervals",
    "_history.parquet": "training curves",
    "_maps.csv": "maps of cells",
}
#: Key of a fit's provenance to its name on the page; versions of libraries follow.
RECORDED = {
    "commit": "commit",
    "python": "Python",
    "system": "system",
    "machine": "machine",
    "device": "device",
}


@dataclass(frozen=True)
class Across:
    """The figure of all simulated studies together: the name of its files, and its caption."""

    name: str
    caption: Caption


@dataclass(frozen=True)
class StudySection:
    """A study as the page shows it.

    Attributes
    ----------
    name
        Name of the study.
    figures
        Figure to its caption, in the order of the config.
    runs
        A row for each member of each fit: setting, variant, point, fit, seed, finite.
    """

    name: str
    figures: Mapping[str, Caption]
    runs: pd.DataFrame

    @property
    def failed(self) -> pd.DataFrame:
        """Members that became non-finite."""
        return self.runs[~self.runs["finite"]]

    @property
    def size(self) -> str:
        """How much was fitted, in words."""
        runs = self.runs
        return (
            f"{many(runs['setting'].nunique(), 'setting')}, {many(runs['variant'].nunique(), 'variant')},"
            f" {many(len(runs), 'fit')} in {many(runs['fit'].nunique(), 'job')};"
            f" seeds {ranges(sorted(set(runs['seed'])))}."
        )


def runs_of(scores: pd.DataFrame) -> pd.DataFrame:
    """Select the members of a study's fits from its scores, one row each. Baselines are not fits."""
    fitted = scores[scores["fit"] != ""]
    columns = ["setting", "variant", "point", "fit", "seed", "finite"]
    return fitted.drop_duplicates(["fit", "point", "seed"])[columns].reset_index(drop=True)


def index_page(
    claims: pd.DataFrame | None,
    studies: Sequence[StudySection],
    records: Sequence[Mapping[str, Any]],
    root_seed: int,
    claims_name: str = "claims",
    across: Across | None = None,
) -> str:
    """Lay out the page; its links are relative to ``results/``.

    Parameters
    ----------
    claims
        Table of verdicts (``CLAIM_COLUMNS`` of :mod:`cdgm.claims.judge`); None without claims.
    studies
        Studies in the order of the config.
    records
        Provenance of every fit.
    root_seed
        Root seed of the run.
    claims_name
        Name of the files of claims, without their endings.
    across
        The figure across studies, if there is one.

    Returns
    -------
    str
        HTML.
    """
    rows: list[Any] = [] if claims is None else list(claims.drop_duplicates("claim").itertuples())
    rows.sort(key=lambda row: list(SOURCES).index(row.source))
    counts = verdict_counts((row.source, row.claim_verdict) for row in rows)
    return render(
        "index.html.j2",
        has_claims=claims is not None,
        judged=[row for row in rows if row.claim_verdict != "not run"],
        not_run=[row for row in rows if row.claim_verdict == "not run"],
        claims_name=claims_name,
        counts=counts,
        sentences=[count_sentence(source, found) for source, found in counts.items()],
        badges=BADGES,
        sources=SOURCES,
        studies=studies,
        across=across,
        questions=questions_of(studies),
        tables=TABLES,
        members=sum(len(study.runs) for study in studies),
        failed=sum(len(study.failed) for study in studies),
        jobs=len(records),
        root_seed=root_seed,
        made_with=made_with(records),
    )


def questions_of(studies: Sequence[StudySection]) -> list[tuple[str, str, list[str]]]:
    """List each figure once: its question, its name and the studies that have it."""
    found: dict[str, tuple[str, str, list[str]]] = {}
    for study in studies:
        for figure, caption in study.figures.items():
            found.setdefault(figure, (caption.question, figure, []))[2].append(study.name)
    return list(found.values())


def made_with(records: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """List commit, system and versions of libraries, each with the values that fits recorded."""
    rows = [(name, _values(record.get(key) for record in records)) for key, name in RECORDED.items()]
    versions = [record.get("versions", {}) for record in records]
    libraries = sorted(set().union(*versions))
    return rows + [(name, _values(found.get(name) for found in versions)) for name in libraries]


def _values(found: Iterable[str | None]) -> str:
    """The value that all fits share, or each value with its number of jobs."""
    counted = Counter("unknown" if value is None else str(value) for value in found)
    if len(counted) < 2:
        return "".join(counted)
    return "; ".join(f"{value} ({many(n, 'job')})" for value, n in sorted(counted.items()))


def ranges(numbers: Sequence[int]) -> str:
    """Format sorted numbers in short: 100, 101, 102, 200 as ``100–102, 200``."""
    runs: list[list[int]] = []
    for n in numbers:
        if runs and n == runs[-1][1] + 1:
            runs[-1][1] = n
        else:
            runs.append([n, n])
    return ", ".join(f"{a}" if a == b else f"{a}–{b}" for a, b in runs)
