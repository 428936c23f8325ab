"""Knock-downs of known gene programs, spiked into real counts: real noise with a known truth.

Cells are split at random into a background and a target half. In the target, each program of genes is
thinned in its own group of cells; one more group is left alone. The thinned counts are what the same
cells would have shown had each molecule of these genes been lost with probability ``1 - keep``, so the
library size falls with the program, as in a real knock-down.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cdgm.config.dataset import BACKGROUND, TARGET, SpikeIn
from cdgm.data.count_matrix import Csr
from cdgm.utils.errors import UserError

UNTOUCHED = "untouched"


@dataclass(frozen=True)
class Spiked:
    """Result of :func:`spike_in`.

    Attributes
    ----------
    counts
        New counts, CSR (cells, genes).
    source
        ``"background"`` or ``"target"``, (cells,).
    label
        Name of a target cell's program or ``"untouched"``; empty for background cells, (cells,).
    genes
        Positions of all programs' genes, (programs * genes_per_program,), program after program.
    program
        Name of the program of each of them, same shape.
    """

    counts: Csr
    source: np.ndarray
    label: np.ndarray
    genes: np.ndarray
    program: np.ndarray


def spike_in(counts: Csr, options: SpikeIn, rng: np.random.Generator) -> Spiked:
    """Split cells at random into two sources and knock one program down in each target group.

    Parameters
    ----------
    counts
        Integer counts, CSR (cells, genes); not changed.
    options
        What to spike in.
    rng
        Source of all randomness.

    Returns
    -------
    Spiked
        New counts with their truth. Groups differ in size by one cell at most.

    Raises
    ------
    UserError
        If there are fewer expressed genes than ``most_expressed`` or too few target cells for two a group.
    """
    cells, genes = counts.shape
    total = np.asarray(counts.sum(axis=0)).ravel()
    expressed = int((total > 0).sum())
    if options.most_expressed > expressed:
        raise UserError(
            f"spike_in: most_expressed: got {options.most_expressed}, expected at most the {expressed} "
            "genes with a count"
        )
    groups = options.programs + 1
    target_cells = round(options.target_fraction * cells)
    if target_cells < 2 * groups or cells - target_cells < 2:
        raise UserError(
            f"spike_in: target_fraction: got {options.target_fraction} of {cells} cells, expected at least "
            f"2 background cells and 2 target cells in each of {groups} groups"
        )
    # Stable sort: genes of equal totals keep the file's order on every platform.
    candidates = np.argsort(-total, kind="stable")[: options.most_expressed]
    drawn = rng.choice(candidates, size=options.programs * options.genes_per_program, replace=False)
    order = rng.permutation(cells)
    in_target = order[:target_cells]
    names = [f"program {number + 1}" for number in range(options.programs)]

    source = np.full(cells, BACKGROUND, dtype=object)
    source[in_target] = TARGET
    label = np.full(cells, "", dtype=object)
    # program_of_cell and program_of_gene hold -1 where nothing is thinned.
    program_of_cell = np.full(cells, -1)
    for number, members in enumerate(np.array_split(in_target, groups)):
        is_program = number < options.programs
        label[members] = names[number] if is_program else UNTOUCHED
        program_of_cell[members] = number if is_program else -1
    program_of_gene = np.full(genes, -2)
    program_of_gene[drawn] = np.repeat(np.arange(options.programs), options.genes_per_program)

    # On the stored entries alone: nothing dense, whatever the number of cells.
    entries = counts.tocoo()
    hit = program_of_cell[entries.row] == program_of_gene[entries.col]
    thinned = counts.copy()
    thinned.data[hit] = rng.binomial(thinned.data[hit], options.keep)
    thinned.eliminate_zeros()
    return Spiked(thinned, source, label, drawn, np.repeat(names, options.genes_per_program))
