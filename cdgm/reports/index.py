"""The first page of the results: verdicts, figures with their captions, tables, and what made them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from cdgm.reports.claims import SOURCES, badge, counts
from cdgm.reports.html import Html, element, join, page, table

TABLES = {
    ".csv": "all scores",
    "_summary.csv": "medians with intervals",
    "_history.parquet": "training curves",
    "_maps.csv": "maps of cells",
}

# What the records of fits say beside versions of libraries.
RECORDED = ("commit", "python", "system", "machine", "device")


@dataclass(frozen=True)
class StudySection:
    """What the page says of a study.

    Attributes
    ----------
    name
        Its name.
    figures
        Figure to its caption as HTML, in the order of the config.
    runs
        One row for each member of each fit: setting, variant, point, fit, seed, finite.
    """

    name: str
    figures: Mapping[str, Html]
    runs: pd.DataFrame

    @property
    def failed(self) -> pd.DataFrame:
        """Members that turned non-finite."""
        return self.runs[~self.runs["finite"]]


def runs_of(scores: pd.DataFrame) -> pd.DataFrame:
    """The members of a study's fits, a row each, from its table of scores; baselines are no fits."""
    fitted = scores[scores["fit"] != ""]
    columns = ["setting", "variant", "point", "fit", "seed", "finite"]
    return fitted.drop_duplicates(["fit", "point", "seed"])[columns].reset_index(drop=True)


def index_page(
    claims: pd.DataFrame | None,
    studies: Sequence[StudySection],
    records: Sequence[Mapping[str, Any]],
    root_seed: int,
    claims_name: str = "claims",
) -> str:
    """The page; links are relative to ``results/``.

    Parameters
    ----------
    claims
        Table of verdicts (``CLAIM_COLUMNS`` of :mod:`cdgm.claims.judge`); None where none are stated.
    studies
        Studies in the order of the config.
    records
        Provenance of every fit.
    root_seed
        Root seed of the run.
    claims_name
        Name of the files of claims, without their endings.
    """
    return page(
        "Comparative deep generative models: results",
        _contents(studies, claims is not None),
        element("h1", "Comparative deep generative models: what was found"),
        element(
            "p",
            "This project puts the claims of ",
            element("i", "Toward the Identifiability of Comparative Deep Generative Models"),
            " (Lopez, Huetter, Hajiramezanali, Pritchard, Regev; CLeaR 2024) to the test, by simulations and"
            " real cells with settings of its own. A comparative model splits what it learns from two or more"
            " data sets into blocks of latent variables, some shared and some private to a data set. The"
            " question is when these are the blocks that made the data. Everything on this page was computed"
            " from one configuration; each figure lies beside the numbers that it is drawn from.",
        ),
        *(() if claims is None else _claims(claims, claims_name)),
        *(_study(study) for study in studies),
        *_provenance(studies, records, root_seed),
    )


def _contents(studies: Sequence[StudySection], has_claims: bool) -> Html:
    links = [element("a", "claims", href="#claims")] if has_claims else []
    links += [element("a", study.name, href=f"#study-{study.name}") for study in studies]
    links.append(element("a", "provenance", href="#provenance"))
    return element("nav", join(links, " · "))


def _claims(claims: pd.DataFrame, name: str) -> Iterable[Html]:
    rows = claims.drop_duplicates("claim")
    yield element("h2", "Claims", id="claims")
    if rows.empty:
        yield element("p", "The configuration states no claims.")
        return
    yield counts(rows["claim_verdict"])
    yield element(
        "p",
        "Each claim and the rule that decides it were written down before the run. ",
        element("a", "What each verdict rests on", href=f"{name}.html"),
        ", or ",
        element("a", "the same as a table", href=f"{name}.csv"),
        ".",
    )
    yield table(
        ["verdict", "claim"],
        (
            [
                badge(row.claim_verdict),
                join(
                    [
                        element("a", row.statement, href=f"{name}.html#{row.claim}"),
                        element("div", f"{SOURCES[row.source]} · study {row.study}", class_="small"),
                    ]
                ),
            ]
            for row in rows.itertuples()
        ),
    )


def _study(study: StudySection) -> Html:
    runs = study.runs
    seeds = _ranges(sorted(set(runs["seed"])))
    said = (
        f"{_many(runs['setting'].nunique(), 'setting')}, {_many(runs['variant'].nunique(), 'variant')},"
        f" {_many(len(runs), 'fit')} in {_many(runs['fit'].nunique(), 'job')}; seeds {seeds}."
    )
    links = [
        element("a", words, href=f"tables/{study.name}{ending}")
        for ending, words in TABLES.items()
    ]  # fmt: skip
    return element(
        "section",
        element("h2", study.name, id=f"study-{study.name}"),
        element("p", said, " Tables: ", join(links, ", "), "."),
        _failures(study),
        *(_figure(study.name, name, caption) for name, caption in study.figures.items()),
    )


def _figure(study: str, name: str, caption: Html) -> Html:
    path = f"figures/{study}/{name}"
    links = [element("a", end.upper(), href=f"{path}.{end}") for end in ("png", "pdf", "csv")]
    picture = element("img", src=f"{path}.png", alt=f"Figure {name} of study {study}", loading="lazy")
    return element(
        "figure",
        element("h3", name),
        element("a", picture, href=f"{path}.png"),
        element("figcaption", caption, element("p", join(links, " · "), class_="small"), class_="caption"),
        id=f"{study}-{name}",
    )


def _failures(study: StudySection) -> Html:
    failed, n = study.failed, len(study.runs)
    if failed.empty:
        return element("p", f"All {n} fits stayed finite.", class_="small")
    rows = [
        [row.setting, row.variant, row.point, str(row.seed)] for row in failed.itertuples()
    ]  # fmt: skip
    return element(
        "details",
        element("summary", f"{len(failed)} of {n} fits turned non-finite and are left out of all medians"),
        table(["setting", "variant", "point", "seed"], rows),
    )


def _provenance(
    studies: Sequence[StudySection], records: Sequence[Mapping[str, Any]], root_seed: int
) -> Iterable[Html]:
    yield element("h2", "Provenance", id="provenance")
    members = sum(len(study.runs) for study in studies)
    failed = sum(len(study.failed) for study in studies)
    yield element(
        "p",
        f"{_many(members, 'fit')} in {_many(len(records), 'job')} (a job fits several seeds at once),"
        f" {failed} of them non-finite. Root seed {root_seed}; every other seed follows from it. Times and"
        " memory of each kind of job are in ",
        element("a", "timings.csv", href="timings.csv"),
        ", written at the end of a run. Settings, versions, commit and times of each fit are in its ",
        element("code", "fits/<id>/provenance.json"),
        ".",
    )
    facts = {name.capitalize() if name == "python" else name: name for name in RECORDED}
    rows = [[name, _values(record.get(key) for record in records)] for name, key in facts.items()]
    libraries = sorted({name for record in records for name in record.get("versions", {})})
    rows += [[n, _values(record.get("versions", {}).get(n) for record in records)] for n in libraries]
    yield table(["fits were made with", ""], rows)


def _values(found: Iterable[str | None]) -> str:
    """The value that all fits share, or each with its number of fits."""
    counted = Counter("unknown" if value is None else str(value) for value in found)
    if len(counted) < 2:
        return "".join(counted)
    return "; ".join(f"{value} ({_many(n, 'job')})" for value, n in sorted(counted.items()))


def _many(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def _ranges(numbers: Sequence[int]) -> str:
    """100, 101, 102, 200 as "100–102, 200"."""
    runs: list[list[int]] = []
    for n in numbers:
        if runs and n == runs[-1][1] + 1:
            runs[-1][1] = n
        else:
            runs.append([n, n])
    return ", ".join(f"{a}" if a == b else f"{a}–{b}" for a, b in runs)
