"""Lay out each latent space of a fit's first member in two dimensions."""

from __future__ import annotations

import pandas as pd

from cdgm.data.cell_table import MOST_ON_A_MAP, read_cell_table
from cdgm.evaluation.embedding import layout
from cdgm.utils.command_line import Parser, natural, run_job
from cdgm.utils.files import read_npz, write_csv
from cdgm.utils.random_streams import stream


def main() -> None:
    """Parse, lay out, write."""
    parser = Parser(description=__doc__)
    parser.add_argument("--latents", required=True, help="latents.npz of an evaluation")
    parser.add_argument("--cells", required=True, help="table of cells (.csv)")
    parser.add_argument("--root-seed", type=natural, required=True)
    parser.add_argument("--out", required=True, help="table to write (.csv)")
    arguments = parser.parse_args()
    arrays = read_npz(arguments.latents, ("seeds",))
    cells = read_cell_table(arguments.cells).of(int(arrays["seeds"][0]))
    cells = cells.thinned(MOST_ON_A_MAP, stream("map", "cells", root=arguments.root_seed))
    means = {tuple(name.split("/")[1:]): mean[0] for name, mean in arrays.items() if name.startswith("mean/")}
    parts = []
    for block in dict.fromkeys(block for _, _, block in means):
        latent = cells.join({(split, source): m for (split, source, b), m in means.items() if b == block})
        seed = int(stream("map", block, root=arguments.root_seed).integers(2**31))
        xy = layout(latent, seed)
        table = cells.table[["cell", "split", "source", "label"]]
        parts.append(table.assign(seed=int(arrays["seeds"][0]), block=block, x=xy[:, 0], y=xy[:, 1]))
    write_csv(arguments.out, pd.concat(parts), digits=6)


if __name__ == "__main__":
    run_job(main)
