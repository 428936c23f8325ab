"""``cdgm datasets``."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from cdgm.cli.inputs import local_path
from cdgm.utils.errors import UserError

SUMMARY = "list the project's data sets, or get one as an AnnData file"
DESCRIPTION = """\
The public data sets of the project's own studies. Downloads are verified by checksum. Set CDGM_DATA_MIRROR to
a folder to look for files there first.
"""
EPILOG = """\
examples
  cdgm datasets                                         what there is
  cdgm datasets get immune_spikein --out immune.h5ad    one of them; its obs has `source` and `label`
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument(
        "action", nargs="?", choices=("list", "get"), default="list", help="what to do (default: list)"
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="data set to get")
    parser.add_argument("--out", type=local_path, metavar="FILE", help="AnnData file to write (.h5ad)")


def run(arguments: argparse.Namespace) -> None:
    """List or get."""
    from cdgm.estimator.defaults import defaults

    known = defaults()["datasets"]
    if arguments.action == "list":
        if arguments.name or arguments.out:
            raise UserError("datasets: to get one write `cdgm datasets get NAME --out FILE`")
        for name, spec in known.items():
            named = spec["download"]
            found = [defaults()["downloads"][each] for each in ([named] if isinstance(named, str) else named)]
            size = f"{sum(each.get('size', 0) for each in found) / 1e6:,.1f} MB"
            licences = " and ".join(dict.fromkeys(each.get("licence", "") for each in found))
            print(f"{name:<30} {size:>12}  {licences:<12} {', '.join(spec['sources'])}")
        return
    if arguments.name not in known:
        raise UserError(f"datasets get: got {arguments.name!r}, expected one of {', '.join(known)}")
    if arguments.out is None or arguments.out.suffix != ".h5ad":
        raise UserError(f"datasets get: --out: got {arguments.out}, expected a file .h5ad to write")
    get(arguments.name, arguments.out)


def get(name: str, out: Path) -> None:
    """Fetch a data set, prepare it as the workflow does, and write it as an AnnData file."""
    from cdgm.config.dataset import DatasetSpec
    from cdgm.data.downloads import DOWNLOADS
    from cdgm.data.fetch import fetch
    from cdgm.data.preprocess import preprocess
    from cdgm.estimator.defaults import defaults
    from cdgm.utils.files import atomic, require_writable

    if os.path.lexists(out):
        raise UserError(f"datasets get: --out: {out} exists: choose another file, nothing is overwritten")
    require_writable(out.parent)
    spec = DatasetSpec.model_validate(defaults()["datasets"][name])
    # Beside the result and not in a temporary folder, so that an interrupted download goes on.
    downloads: dict[str, Any] = {each: DOWNLOADS.parse(defaults()["downloads"][each]) for each in spec.files}
    raw = [out.with_name(f".{out.name}.{download.filename}") for download in downloads.values()]
    try:
        for (each, download), path in zip(downloads.items(), raw, strict=True):
            fetch(download, each, path)
        prepared = preprocess(spec, name, raw[0], defaults()["root_seed"], raw[1:])
    finally:
        for path in raw:
            path.unlink(missing_ok=True)
    adata = as_anndata(prepared)
    with atomic(out) as temporary:
        adata.write_h5ad(temporary)
    print(f"{out}: {adata.n_obs:,} cells, {adata.n_vars:,} genes. To fit a model:")
    options = f"--source-key source --background {spec.sources[0]} --labels-key label"
    batch = next((name for name, kind in spec.covariates.items() if kind == "categorical"), None)
    options += "" if batch is None else f" --batch-key {batch}"
    print(f"  cdgm fit {out} {options} --out fit")


def as_anndata(prepared: Any):
    """A prepared data set as an AnnData object: counts in X, ``source`` and ``label`` in obs."""
    import anndata
    import numpy as np
    import scipy.sparse as sp

    cells = prepared.cells
    if "division" in cells:
        cells = cells[cells["division"] == 0].drop(columns="division")
    order = list(dict.fromkeys(zip(cells["split"], cells["source"], strict=True)))
    x = np.concatenate([prepared.arrays[f"x/{split}/{source}"][0] for split, source in order])
    obs = cells.drop(columns=["split", "row"]).set_index("cell")
    var = prepared.genes.set_index("gene")
    obs.index, var.index = obs.index.astype(str), var.index.astype(str)
    return anndata.AnnData(sp.csr_matrix(x.astype(np.float32)), obs=obs, var=var)
