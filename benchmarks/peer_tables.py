"""From anybody's fitted model to the rows of the project's tables. Neither torch nor a peer is imported."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import pandas as pd

from cdgm.config.fit import FitSpec
from cdgm.data.bundle import Bundle
from cdgm.data.cell_table import CellTable
from cdgm.evaluation.metrics.latent_space_scores import batch_rows, score_baselines, score_space
from cdgm.evaluation.metrics.nulls import row
from cdgm.evaluation.study_tables import SCORE_COLUMNS, summarise, with_study
from cdgm.utils.command_line import log
from cdgm.utils.files import read_npz, write_csv, write_npz
from cdgm.utils.random_streams import stream
from cdgm.workflow.plan import dump, identify

# Posterior means (n, d) by split, source and block.
Means = dict[tuple[str, str, str], np.ndarray]
STUDY = "peers"


@dataclass(frozen=True)
class Fitted:
    """What a method says of the cells.

    Attributes
    ----------
    means
        Posterior means of every block for all rows.
    elbo
        Held-out evidence lower bound of each source: nats a cell, all constants in.
    kl
        Held-out KL term of each (source, active block): nats a cell.
    finite
        Whether training stayed finite.
    seconds
        Processor seconds that training took; a stack's are shared evenly among its members.
    """

    means: Means
    elbo: dict[str, float]
    kl: dict[tuple[str, str], float]
    finite: bool
    seconds: float

    def write(self, path: Path) -> None:
        """Save as arrays named by kind and key."""
        arrays = {f"mean/{'/'.join(key)}": value for key, value in self.means.items()}
        arrays |= {f"elbo/{key}": np.array(value) for key, value in self.elbo.items()}
        arrays |= {f"kl/{'/'.join(key)}": np.array(value) for key, value in self.kl.items()}
        arrays |= {"finite": np.array(self.finite), "seconds": np.array(self.seconds)}
        write_npz(path, arrays)

    @classmethod
    def read(cls, path: Path) -> Fitted:
        """What :meth:`write` saved."""
        arrays = read_npz(path, ("finite", "seconds"))
        keyed = {tuple(name.split("/")): value for name, value in arrays.items()}
        return cls(
            {key[1:]: value for key, value in keyed.items() if key[0] == "mean"},
            {key[1]: value.item() for key, value in keyed.items() if key[0] == "elbo"},
            {key[1:]: value.item() for key, value in keyed.items() if key[0] == "kl"},
            bool(arrays["finite"]),
            arrays["seconds"].item(),
        )


class Method(Protocol):
    """A way of fitting that is compared."""

    #: Whether all seeds are fitted at once; otherwise one after another, so that a run can stop between.
    stacked: bool

    def settings(self) -> dict[str, Any]:
        """Everything that decides the result beside data, our fit and seed; plain values."""

    def fit(self, ours: FitSpec, bundle: Bundle, seeds: Sequence[int], draws: int) -> list[Fitted]:
        """Fit each seed on ``bundle``'s training rows at the shapes of ``ours``; ``draws`` samples bound."""


def fitted_rows(
    fitted: Fitted,
    cells: CellTable,
    dataset: str,
    seed: int,
    draws: int,
    root: int,
    batches: Sequence[str] = (),
) -> list[dict[str, object]]:
    """Bounds, and the scores of each block's space, on all cells of both splits as the workflow scores them.

    Columns of ``batches`` are scored whether or not the method was told them. The streams do not know the
    method: every method meets the same permutations and tie-breaks.
    """
    rows = [row(source, "", "", "elbo", value) for source, value in fitted.elbo.items()]
    rows += [row(source, block, "", "kl", value) for (source, block), value in fitted.kl.items()]
    rows.append(row("", "", "", "seconds", fitted.seconds))
    for block in dict.fromkeys(block for _, _, block in fitted.means):
        if not fitted.finite:
            break
        latent = cells.join({(split, s): m for (split, s, b), m in fitted.means.items() if b == block})
        rng = stream("evaluate", "cells", dataset, block, seed, root=root)
        rows += score_space(
            latent, cells.source, cells.label, block, strata=cells.strata, rng=rng, draws=draws
        )
        for name in batches:
            rng = stream("evaluate", "batches", dataset, block, name, seed, root=root)
            batch = cells.table[name].to_numpy(dtype=str)
            rows += batch_rows(latent, cells.source, batch, block, name, rng, draws)
    return [{"point": "", "seed": seed, "member": 0, "finite": fitted.finite, **r} for r in rows]


def baseline_rows(
    bundle: Bundle, cells: CellTable, ours: FitSpec, draws: int, root: int
) -> list[dict[str, object]]:
    """Linear spaces and the supervised ceiling, as the workflow scores them."""
    block, foreground, reference = ours.model.design.contrast()
    rows = score_baselines(
        cells.join({(split, s): x[0] for split, sources in bundle.x.items() for s, x in sources.items()}),
        cells.source, cells.label, foreground, reference, block=block, dims=ours.model.dims[block],
        strata=cells.strata, rng=stream("baselines", root=root), draws=draws,
    )  # fmt: skip
    return [{"point": "", "seed": -1, "member": 0, "finite": True, **r} for r in rows]


def long_table(dataset: str, rows: Mapping[tuple[str, str], list[dict[str, object]]]) -> pd.DataFrame:
    """Rows by (variant, fit) as one table with the columns of a study's."""
    parts = []
    for (variant, fit), found in rows.items():
        place = dict(study=STUDY, setting=dataset, variant=variant, dataset=dataset, fit=fit)
        parts.append(with_study(pd.DataFrame(found), place))
    return pd.concat(parts, ignore_index=True)[SCORE_COLUMNS]


def write_tables(table: pd.DataFrame, prefix: Path) -> pd.DataFrame:
    """Write ``<prefix>.csv`` and ``<prefix>_summary.csv``, each whole or not at all; gives the summary."""
    summary = summarise(table)
    write_csv(f"{prefix}.csv", table)
    write_csv(f"{prefix}_summary.csv", summary)
    return summary


class Kept(NamedTuple):
    """A fit of one seed, and the id under which it is kept."""

    fit: str
    seed: int
    fitted: Fitted


def kept_fits(
    folder: Path,
    slug: str,
    method: Method,
    ours: FitSpec,
    bundle: Bundle,
    seeds: Sequence[int],
    draws: int,
) -> list[Kept]:
    """Fits of a method, one a seed in order: from disk, or made and put there."""
    found = []
    for job in [list(seeds)] if method.stacked else [[seed] for seed in seeds]:
        settings = (method.settings(), dump(ours), job, draws)
        ids = [identify(f"{slug}-s{seed}", *settings) for seed in job]
        paths = [folder / f"{fit}.npz" for fit in ids]
        missing = not all(path.exists() for path in paths)
        log(f"{slug}, seeds {job}: {'fitting' if missing else 'found'}")
        if missing:
            for path, fitted in zip(paths, method.fit(ours, bundle, job, draws), strict=True):
                fitted.write(path)
        found += [Kept(*one, Fitted.read(path)) for *one, path in zip(ids, job, paths, strict=True)]
    return found


def wide(summary: pd.DataFrame, columns: Mapping[str, tuple[str, str, str]], variants: Iterable[str]) -> str:
    """A Markdown table of medians [min, max], a row a variant.

    Parameters
    ----------
    summary
        As :func:`write_tables` gives it.
    columns
        Title to (metric, source, block).
    variants
        Rows, in order.
    """
    lines = ["| method | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for variant in variants:
        texts = []
        for metric, source, block in columns.values():
            of = summary[
                (summary["variant"] == variant) & (summary["metric"] == metric)
                & (summary["source"] == source) & (summary["block"] == block)
            ]  # fmt: skip
            texts.append(_cell(of.iloc[0], metric) if len(of) else "")
        lines.append(f"| {variant} | " + " | ".join(texts) + " |")
    return "\n".join(lines)


def _cell(of: pd.Series, metric: str) -> str:
    digits = {"elbo": 1, "kl": 1, "seconds": 0}.get(metric, 2)
    text = f"{of['median']:.{digits}f}"
    return text if of["n_finite"] < 2 else f"{text} [{of['min']:.{digits}f}, {of['max']:.{digits}f}]"
