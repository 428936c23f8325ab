"""Check the latent spaces of any comparative method: leakage, mixing of sources, batches, stability."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from cdgm.config.design import Design
from cdgm.data.count_matrix import blocks
from cdgm.data.read_cells import read_cells, text_columns
from cdgm.data.sources import REST, assign_sources
from cdgm.estimator.anndata_input import SOURCES, require_anndata
from cdgm.estimator.interpretation import interpret, summarise
from cdgm.estimator.leakage import floors, leakage_rows
from cdgm.estimator.leakage_checks import Advice
from cdgm.estimator.scores import agreement_table
from cdgm.reports.fit_report import Check, FitPage, fit_report
from cdgm.utils.errors import bad_input
from cdgm.utils.files import write_csv, write_text
from cdgm.utils.progress import progress
from cdgm.utils.random_streams import stream

if TYPE_CHECKING:
    from anndata import AnnData

#: Blocks of the design that every comparative method with two groups has.
SHARED, OWN = "background", "salient"
DESIGN = Design(sources=SOURCES, blocks={SHARED: SOURCES, OWN: SOURCES[1:]})
COLUMNS = [
    "seed", "metric", "block", "source", "value", "null_mean", "null_high", "floor", "p", "trace", "rows",
]  # fmt: skip
ADVICE = Advice(
    members="seeds",
    several="unknown for one seed: give the spaces of several.",
    moved="Use other seeds or fewer dimensions, or warm up the KL term of the salient space alone.",
    shifted="A penalty on the MMD between the sources in this space brings them together.",
    batches="Tell the method of it, if it was not told.",
)


@dataclass(frozen=True)
class LatentCheck:
    """What :func:`cdgm.check_latents` found.

    Attributes
    ----------
    leakage
        A row a seed and question: ``seed`` (position of the spaces), and the columns of
        :func:`cdgm.estimator.scores.leakage_table`. More than there: the metric ``batch_accuracy`` (do
        neighbours in a space predict the batch of a source's cells?), and ``floor``, which score the sum of a
        cell's values alone reaches. NaN where a question has no floor, or the object no matrix.
    stability
        Agreement of each pair of seeds, as :func:`cdgm.estimator.scores.stability_table`; None for one seed.
    cells
        cell, source, label and the axes of the first seed's spaces, to be drawn.
    about
        Data and spaces, in a line.
    label, batch
        Names of the columns with labels and batches; "" without.
    """

    leakage: pd.DataFrame
    stability: pd.DataFrame | None
    cells: pd.DataFrame
    about: str
    label: str
    batch: str

    def checks(self) -> list[Check]:
        """Conclusions, strongest objections first; see :mod:`cdgm.estimator.interpretation`."""
        table = self.leakage.rename(columns={"seed": "member"})
        return interpret(None, table, self.stability, self.label or "the label", self.batch, ADVICE)

    def summary(self) -> Check:
        """One sentence on the spaces as a whole."""
        return summarise(self.checks(), (OWN,))

    def write(self, folder: Path, way: str = "umap") -> None:
        """Write ``report.html``, ``leakage.csv``, ``stability.csv`` and maps into a folder that is there.

        Parameters
        ----------
        folder
            Where to.
        way
            How maps are laid out: ``umap`` or ``pca``.
        """
        from cdgm.figures.fit_report import map_table, maps_figure
        from cdgm.plotting.saving import save

        maps = map_table(self.cells, list(DESIGN.blocks), way)
        save(maps_figure(maps, SOURCES, self.label or "label"), maps, folder / "figures/maps")
        write_csv(folder / "leakage.csv", self.leakage, digits=6)
        if self.stability is not None:
            write_csv(folder / "stability.csv", self.stability, digits=6)
        page = FitPage(
            summary=self.summary(),
            checks=self.checks(),
            about=self.about,
            private=(OWN,),
            shown=0,
            layout=way,
            leakage=self.leakage,
            stability=self.stability,
            label=self.label,
        )
        tables = ["leakage.csv"] + ["stability.csv"] * (self.stability is not None)
        write_text(folder / "report.html", fit_report(page, tables))


def check_latents(
    adata: AnnData,
    source_key: str,
    background: str | Sequence[str],
    background_space: str | Sequence[str],
    salient_space: str | Sequence[str],
    *,
    labels_key: str | None = None,
    batch_key: str | None = None,
    layer: str | None = None,
    draws: int = 200,
) -> LatentCheck:
    """Score latent spaces that any method wrote to ``obsm``, by the checks of this package's own fits.

    Parameters
    ----------
    adata
        The object. Nothing in it is changed.
    source_key, background
        Column of ``obs`` that tells the groups apart, and its value or values for the background; all other
        cells are the target.
    background_space
        Key in ``obsm`` of the space (cells, d) that both groups share; several keys are several seeds.
    salient_space
        Likewise of the space of the target. What it holds for background cells is not looked at.
    labels_key, batch_key
        Columns with labels and with batches (or donors).
    layer
        Layer whose sums are the sizes of cells, X if None; without either there are no floors.
    draws
        Permutations of each null.

    Returns
    -------
    LatentCheck
        Tables, conclusions, and the page.

    Raises
    ------
    UserError
        If a key is missing, the numbers of keys differ, or a space holds anything but finite numbers for the
        cells that are looked at.

    Notes
    -----
    Each space is divided by the standard deviation along its widest axis (over all cells that are looked at),
    as the scores of axes are made for priors of variance 1: scores depend neither on the unit nor on the
    rotation of a space.
    """
    require_anndata(adata)
    columns = {"source_key": source_key, "labels_key": labels_key, "batch_key": batch_key}
    obs = text_columns(adata, {argument: name for argument, name in columns.items() if name is not None})
    named = (background,) if isinstance(background, str) else tuple(map(str, background))
    where = f"adata.obs[{source_key!r}]"
    source = assign_sources(obs["source_key"], {SOURCES[0]: named, SOURCES[1]: REST}, where).to_numpy()
    keys = {SHARED: _keys(background_space), OWN: _keys(salient_space)}
    seeds = len(keys[SHARED])
    if seeds != len(keys[OWN]):
        expected = f"{seeds}, as there are background spaces: one of each for a seed"
        raise bad_input("salient_space", "keys", len(keys[OWN]), expected)
    rows = {SHARED: np.arange(len(source)), OWN: np.flatnonzero(source == SOURCES[1])}
    spaces = {block: [_space(adata, key, rows[block]) for key in keys[block]] for block in DESIGN.blocks}
    for block, found in spaces.items():
        for key, space in zip(keys[block], found, strict=True):
            if space.shape != found[0].shape:
                expected = f"{found[0].shape[1]}, as {keys[block][0]!r} has"
                raise bad_input(f"adata.obsm[{key!r}]", "dimensions", space.shape[1], expected)
    place = {s: np.flatnonzero(source == s) for s in SOURCES}

    def by_source(column: str) -> dict[str, np.ndarray]:
        values = obs[column].to_numpy(dtype=str) if column in obs else np.full(len(source), "")
        return {s: values[place[s]] for s in SOURCES}

    labels, batches = by_source("labels_key"), by_source("batch_key") if batch_key is not None else None
    table = []
    with progress("leakage", seeds, "seeds") as advance:
        for e in range(seeds):
            latents = {
                (SOURCES[0], SHARED): spaces[SHARED][e][place[SOURCES[0]]],
                (SOURCES[1], SHARED): spaces[SHARED][e][place[SOURCES[1]]],
                (SOURCES[1], OWN): spaces[OWN][e],
            }
            rng = stream("own data", "check", e, root=0)
            table += [{"seed": e} | r for r in leakage_rows(DESIGN, latents, labels, rng, draws, batches)]
            advance(1)
    leakage = pd.DataFrame(table).assign(trace=lambda t: t["value"] > t["null_high"])
    sums = _sums(adata, layer)
    leakage["floor"] = np.nan
    if sums is not None:
        leakage["floor"] = floors(leakage, DESIGN, {s: sums[place[s]] for s in SOURCES}, labels, batches)
    groups = ", ".join(f"{len(place[s]):,} {s}" for s in SOURCES)
    sizes = ", ".join(
        f"{block} {', '.join(keys[block])} of {spaces[block][0].shape[1]} dimensions" for block in spaces
    )
    return LatentCheck(
        leakage[COLUMNS],
        agreement_table({b: np.stack(found) for b, found in spaces.items()}, draws, "all")
        if seeds > 1
        else None,
        _cells(adata, obs, source, {block: (rows[block], found[0]) for block, found in spaces.items()}),
        f"{groups} cells; spaces: {sizes}.",
        labels_key or "",
        batch_key or "",
    )


def _keys(space: str | Sequence[str]) -> tuple[str, ...]:
    keys = (space,) if isinstance(space, str) else tuple(space)
    repeated = [key for key in keys if keys.count(key) > 1]
    if repeated:
        raise bad_input("obsm", "", repeated[0], "each space once, one a seed")
    if not keys:
        raise bad_input("obsm", "", list(keys), "the key of a space")
    return keys


def _space(adata: AnnData, key: str, rows: np.ndarray) -> np.ndarray:
    """Rows of a space (n, d) in float64, in the unit of its widest axis."""
    if key not in adata.obsm:
        raise bad_input("adata.obsm", "", key, f"one of {sorted(map(str, adata.obsm))}")
    held: Any = adata.obsm[key]
    values = np.asarray(held.toarray() if hasattr(held, "toarray") else held)
    where = f"adata.obsm[{key!r}]"
    if values.ndim != 2 or not values.shape[1] or values.dtype.kind not in "iuf":
        raise bad_input(where, "", f"{values.dtype} of shape {values.shape}", "numbers (cells, dimensions)")
    values = values[rows].astype(np.float64)
    bad = ~np.isfinite(values)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        cell = str(adata.obs_names[rows[row]])
        raise bad_input(f"{where} in cell {cell!r}", f"axis {column}", values[row, column], "a finite number")
    values = values - values.mean(axis=0)
    widest = float(np.linalg.eigvalsh(values.T @ values / len(values))[-1])
    return values / np.sqrt(widest) if widest > 0 else values


def _sums(adata: AnnData, layer: str | None) -> np.ndarray | None:
    """Sum of each cell's values (n,); None without a matrix."""
    if layer is None and adata.X is None:
        return None
    cells = read_cells(adata, {}, layer=layer, support="real")
    return np.concatenate(
        [np.asarray(block.sum(axis=1), dtype=np.float64).ravel() for block in blocks(cells.x)]
    )


def _cells(
    adata: AnnData,
    obs: pd.DataFrame,
    source: np.ndarray,
    shown: dict[str, tuple[np.ndarray, np.ndarray]],
) -> pd.DataFrame:
    """Cells with the axes of their spaces; NaN where a space is not looked at."""
    label = obs["labels_key"].to_numpy() if "labels_key" in obs else ""
    columns: dict[str, Any] = {"cell": np.asarray(adata.obs_names), "source": source, "label": label}
    for block, (rows, values) in shown.items():
        whole = np.full((len(source), values.shape[1]), np.nan)
        whole[rows] = values
        columns |= {f"{block}_{i}": whole[:, i] for i in range(values.shape[1])}
    return pd.DataFrame(columns)
