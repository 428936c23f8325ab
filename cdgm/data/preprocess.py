"""Prepare a data set of cells: read, spike in, draw, filter, choose genes, split."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd

from cdgm.config.dataset import CovariateKind, DatasetSpec, Doses, Filters, SpikeIn
from cdgm.data.bundle import SPLITS
from cdgm.data.count_matrix import Counts, blocks, count_totals
from cdgm.data.covariates import learn
from cdgm.data.dosed import give_doses
from cdgm.data.filters import passing_cells, passing_genes
from cdgm.data.read_cells import Cells
from cdgm.data.readers.base import RESERVED
from cdgm.data.spike_in import spike_in
from cdgm.utils.errors import UserError, bad_input
from cdgm.utils.files import atomic, write_npz
from cdgm.utils.random_streams import stream

logger = logging.getLogger(__name__)

CELLS, CELL_TABLE, GENE_TABLE, PROGRAM_TABLE = "cells.npz", "cells.csv", "genes.csv", "programs.csv"


@dataclass(frozen=True)
class Prepared:
    """A data set ready to be written.

    Attributes
    ----------
    arrays
        ``x/<split>/<source>`` to counts, (R, cells, genes), one slice a random division into splits; smallest
        unsigned type that holds them all; ``covariates/<split>/<source>/<name>`` to the columns of a
        covariate, (R, cells, columns). With doses, ``truth/<split>/<source>/dose`` too, (R, cells, agents)
        float32.
    cells
        One row a cell in the order of the arrays: cell, split, source, row, label, further labels. With
        several divisions they follow one another, and the column division tells them apart.
    genes
        One row a feature, in order: gene, mean and variance over the kept cells, detected (share of
        cells with a count), program ("" where none).
    programs
        Programs of the spike-in, or genes of the agents of every draw: gene, program, selected (whether the
        gene became a feature); no rows without either.
    """

    arrays: dict[str, np.ndarray]
    cells: pd.DataFrame
    genes: pd.DataFrame
    programs: pd.DataFrame


def preprocess(
    spec: DatasetSpec, name: str, raw: str | os.PathLike[str], root: int, more: Sequence[Path] = ()
) -> Prepared:
    """Prepare one data set.

    Parameters
    ----------
    spec
        What to do.
    name
        Name of the data set; names its random streams.
    raw
        The raw file.
    root
        Root seed of the run.
    more
        Further raw files, where the reader needs several.

    Raises
    ------
    UserError
        If a file is not what the spec says or too few cells are left.
    """
    where = f"dataset {name}: {raw}"
    logger.info("dataset %s: reading", name)
    cells = spec.reader.read(Path(raw), *more)
    logger.info("dataset %s: %d cells, %d genes", name, *cells.x.shape)
    programs = pd.DataFrame(columns=["gene", "program"], dtype=str)
    if spec.doses is not None:
        # Sources are made last, draw by draw: all draws share their cells and genes.
        cells = _of_source(cells.held(), spec.doses.of, where)
    else:
        if spec.spike_in is not None:
            cells, programs = _spike(cells, spec.spike_in, name, root, where)
        cells = _check_sources(cells, spec.sources, where)
    cells = _subsample(cells, spec.cells_per_source, stream("preprocess", name, "subsample", root=root))
    cells = _filter(cells, spec.filters, where)
    logger.info("dataset %s: choosing from %d genes in %d cells", name, *cells.x.shape[::-1])
    try:
        chosen = spec.genes.select(cells.x)
    except UserError as error:
        raise UserError(f"{where}: {error}") from error
    cells = cells.take_genes(chosen)
    # Rates are library x share of a gene: a cell without a count on the chosen genes has none.
    cells = _keep(cells, passing_cells(cells.x, 1, 1), "have no count on the chosen genes", where)
    logger.info("dataset %s: %d cells, %d genes are left", name, *cells.x.shape)
    program_of = dict(zip(programs["gene"], programs["program"], strict=True))
    if spec.doses is not None:
        arrays, table, programs = _dosed(cells, spec, spec.doses, name, root, where)
    else:
        arrays, table = _divided(cells, spec, name, root, where)
    programs["selected"] = programs["gene"].isin(cells.genes)
    return Prepared(arrays, table, _gene_table(cells, program_of), programs)


def write_prepared(prepared: Prepared, out_dir: str | os.PathLike[str]) -> None:
    """Write ``cells.npz``, ``cells.csv``, ``genes.csv`` and ``programs.csv``: all of them or none."""
    folder = Path(out_dir)
    with contextlib.ExitStack() as stack:
        # Nothing is renamed into place before everything is written.
        write_npz(stack.enter_context(atomic(folder / CELLS)), prepared.arrays)
        tables = {CELL_TABLE: prepared.cells, GENE_TABLE: prepared.genes, PROGRAM_TABLE: prepared.programs}
        for filename, table in tables.items():
            path = stack.enter_context(atomic(folder / filename))
            table.to_csv(path, index=False, lineterminator="\n", float_format="%.8g")


def _spike(cells: Cells, options: SpikeIn, name: str, root: int, where: str) -> tuple[Cells, pd.DataFrame]:
    cells = cells.held()
    try:
        spiked = spike_in(cells.x, options, stream("preprocess", name, "spike_in", root=root))
    except UserError as error:
        raise UserError(f"{where}: {error}") from error
    obs = cells.obs.assign(source=spiked.source, label=spiked.label)
    programs = pd.DataFrame({"gene": cells.genes[spiked.genes], "program": spiked.program})
    return Cells(spiked.counts, cells.genes, obs), programs


def _check_sources(cells: Cells, sources: tuple[str, ...], where: str) -> Cells:
    found = cells.obs["source"].value_counts().to_dict()
    if set(found) != set(sources):
        raise bad_input(
            where, "sources", list(sources), f"the sources of its cells: {sorted(map(str, found))}"
        )
    return cells


def _subsample(cells: Cells, most: dict[str, int], rng: np.random.Generator) -> Cells:
    if not most:
        return cells
    source = cells.obs["source"].to_numpy()
    keep = np.ones(len(source), dtype=bool)
    for name in sorted(most):
        members = np.flatnonzero(source == name)
        if members.size > most[name]:
            keep[members] = False
            keep[rng.choice(members, size=most[name], replace=False)] = True
    return cells.take(keep)


def _filter(cells: Cells, filters: Filters, where: str) -> Cells:
    # A gene without any count carries nothing, filter or not.
    genes = passing_genes(cells.x, max(1, filters.min_cells_per_gene))
    if not genes.any():
        raise bad_input(
            where, "filters.min_cells_per_gene", filters.min_cells_per_gene, "some gene to be left"
        )
    cells = cells.take_genes(np.flatnonzero(genes))
    # Nor does a cell.
    keep = passing_cells(cells.x, max(1, filters.min_counts_per_cell), filters.min_genes_per_cell)
    return _keep(cells, keep, "fall to the filters", where)


def _keep(cells: Cells, keep: np.ndarray, why: str, where: str) -> Cells:
    if not keep.any():
        raise UserError(f"{where}: all {keep.size} cells {why}")
    if keep.all():
        return cells
    logger.warning("%s: %d of %d cells %s and are left out", where, int((~keep).sum()), keep.size, why)
    return cells.take(keep)


def _divided(
    cells: Cells, spec: DatasetSpec, name: str, root: int, where: str
) -> tuple[dict[str, np.ndarray], pd.DataFrame]:
    """All random divisions into splits; the first is that of a data set with one."""
    divisions = []
    for division in range(spec.splits):
        arrays, table = _split(cells, spec, _stream_of(name, "split", division, root), where)
        divisions.append((arrays | _covariates(table, spec.covariates, where), table))
    return _joined(divisions)


def _dosed(
    cells: Cells, spec: DatasetSpec, doses: Doses, name: str, root: int, where: str
) -> tuple[dict[str, np.ndarray], pd.DataFrame, pd.DataFrame]:
    """All draws of sources and doses, each with its own division, and the genes that they act on."""
    draws, programs = [], []
    for draw in range(spec.splits):
        try:
            given = give_doses(cells.x, doses, _stream_of(name, "doses", draw, root))
        except UserError as error:
            raise UserError(f"{where}: {error}") from error
        obs = cells.obs.assign(source=given.source, label=given.label, batch=given.batch)
        found = Cells(given.counts, cells.genes, obs.assign(position=np.arange(len(obs))))
        arrays, table = _split(found, spec, _stream_of(name, "split", draw, root), where)
        for (split, source), rows in table.groupby(["split", "source"], sort=False)["position"]:
            arrays[f"truth/{split}/{source}/dose"] = given.dose[None, rows]
        table = table.drop(columns="position")
        draws.append((arrays | _covariates(table, spec.covariates, where), table))
        of_draw = [f"draw {draw}, {program}" for program in given.program]
        programs.append(pd.DataFrame({"gene": cells.genes[given.genes], "program": of_draw}))
    return *_joined(draws), pd.concat(programs, ignore_index=True)


def _stream_of(name: str, what: str, division: int, root: int) -> np.random.Generator:
    names = (what,) if division == 0 else (what, division)
    return stream("preprocess", name, *names, root=root)


def _joined(
    divisions: Iterable[tuple[dict[str, np.ndarray], pd.DataFrame]],
) -> tuple[dict[str, np.ndarray], pd.DataFrame]:
    """Arrays and tables of several divisions one after the other; of one as they are."""
    found = list(divisions)
    if len(found) == 1:
        return found[0]
    arrays = {key: np.concatenate([each[key] for each, _ in found]) for key in found[0][0]}
    tables = [table.assign(division=division) for division, (_, table) in enumerate(found)]
    return arrays, pd.concat(tables, ignore_index=True)


def _of_source(cells: Cells, source: str | None, where: str) -> Cells:
    if source is None:
        return cells
    own = (cells.obs["source"] == source).to_numpy()
    if not own.any():
        raise bad_input(where, "doses.of", source, "a source with cells")
    return cells.take(own)


def _split(
    cells: Cells, spec: DatasetSpec, rng: np.random.Generator, where: str
) -> tuple[dict[str, np.ndarray], pd.DataFrame]:
    """Hold out a share of each source; rows keep the file's order within split and source."""
    source = cells.obs["source"].to_numpy()
    rows: dict[tuple[str, str], np.ndarray] = {}
    for name in spec.sources:
        members = np.flatnonzero(source == name)
        held_out = round(spec.held_out * members.size)
        if held_out < 2 or members.size - held_out < 2:
            raise UserError(
                f"{where}: source {name!r}: got {members.size} cell(s) after filtering, expected at least "
                f"2 to train on and 2 to hold out (held_out {spec.held_out})"
            )
        shuffled = rng.permutation(members)
        rows["test", name], rows["train", name] = np.sort(shuffled[:held_out]), np.sort(shuffled[held_out:])
    parts = []
    for split in SPLITS:
        for name in spec.sources:
            members = rows[split, name]
            part = cells.obs.iloc[members].drop(columns="source")
            label = part.pop("label") if "label" in part else ""
            fixed = {"cell": part.index, "split": split, "source": name, "row": np.arange(members.size)}
            parts.append(pd.DataFrame(fixed | {"label": label} | dict(part.items()), index=part.index))
    dense = _dense(cells.x, rows)
    arrays = {f"x/{split}/{name}": values[None] for (split, name), values in dense.items()}
    return arrays, pd.concat(parts, ignore_index=True)


def _covariates(table: pd.DataFrame, kinds: Mapping[str, CovariateKind], where: str) -> dict[str, np.ndarray]:
    """Arrays of covariates; means and standard deviations are those of the training cells."""
    for name in kinds:
        if name not in table or name in RESERVED:
            columns = [column for column in table if column not in RESERVED]
            raise bad_input(where, "covariates", name, f"a column of its cells: one of {columns}")
    values = {name: table[name].astype(str).to_numpy(dtype=str) for name in kinds}
    training = (table["split"] == "train").to_numpy()
    names = table["cell"].astype(str).tolist()
    learned = learn(kinds, values, training, f"{where}: covariates", names)
    arrays = {}
    groups = table.groupby(["split", "source"], sort=False).indices
    for each in learned:
        columns = each.columns(values[each.name], where, names)
        for group, rows in groups.items():
            split, source = cast("tuple[str, str]", group)
            arrays[f"covariates/{split}/{source}/{each.name}"] = columns[None, rows]
    return arrays


def _dense(counts: Counts, rows: dict[tuple[str, str], np.ndarray]) -> dict[tuple[str, str], np.ndarray]:
    """Return the given rows as arrays of the smallest type for all counts, filled in one pass over blocks.

    Most counts of variable genes are positive, so a sparse matrix would take four times the memory.
    """
    dtype = np.min_scalar_type(count_totals(counts).largest)
    arrays = {key: np.empty((members.size, counts.shape[1]), dtype) for key, members in rows.items()}
    start = 0
    for block in blocks(counts):
        stop, values = start + block.shape[0], block.toarray()
        for key, members in rows.items():
            first, last = np.searchsorted(members, (start, stop))
            arrays[key][first:last] = values[members[first:last] - start]
        start = stop
    return arrays


def _gene_table(cells: Cells, program_of: dict[str, str]) -> pd.DataFrame:
    known, n = count_totals(cells.x), cells.x.shape[0]
    mean = known.gene_totals / n
    return pd.DataFrame(
        {
            "gene": cells.genes,
            "mean": mean,
            "variance": known.gene_squares / n - mean**2,
            "detected": known.gene_cells / n,
            "program": [program_of.get(gene, "") for gene in cells.genes],
        }
    )
