"""``cdgm check``."""

from __future__ import annotations

import argparse

from cdgm.cli.data_options import add_options
from cdgm.cli.inputs import results_folder

SUMMARY = "check the latent spaces of another method, such as ContrastiveVI"
DESCRIPTION = """\
Score the latent spaces that any comparative method wrote to obsm, by the checks of this package's own fits.
Do the two spaces depend on each other? Does the shared one tell the groups apart, or has something moved into
it? Do spaces predict labels or batches? Do seeds agree? Each score stands beside what chance gives.
"""
EPILOG = """\
Several keys are several seeds of one method, in the same order in both options. What the salient space holds
for background cells is not looked at.

what is written to --out
  report.html   open this first: what to believe, maps, tables
  leakage.csv   stability.csv   figures/

examples
  cdgm check c.h5ad --source-key group --background ctrl --background-space bg --salient-space sal --out dir
  cdgm check c.h5ad --source-key g --background ctrl --background-space b0 b1 --salient-space s0 s1 --out dir
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    add_options(parser, "data", metavar="CELLS", help="cells.h5ad with the spaces in obsm")
    add_options(parser, "--out", required=True)
    what = parser.add_argument_group("what is what")
    add_options(what, "--source-key", required=True)
    add_options(what, "--background", required=True)
    for name, whose in (("background", "that both groups share"), ("salient", "of the target")):
        help_text = f"key(s) in obsm of the space {whose}, one a seed"
        what.add_argument(f"--{name}-space", nargs="+", required=True, metavar="KEY", help=help_text)
    add_options(what, "--layer", help="layer whose sums are the sizes of cells (default: X)")
    add_options(what, "--labels-key")
    add_options(what, "--batch-key", help="batches or donors that the spaces should not know")
    add_options(parser.add_argument_group("results"), "--map", "--overwrite")


def run(arguments: argparse.Namespace) -> None:
    """Score, print, write: all results or none."""
    with results_folder(arguments) as folder:
        from cdgm.data.h5ad_file import read_h5ad
        from cdgm.estimator.latent_check import check_latents

        found = check_latents(
            read_h5ad(arguments.data),
            arguments.source_key,
            arguments.background,
            arguments.background_space,
            arguments.salient_space,
            labels_key=arguments.labels_key,
            batch_key=arguments.batch_key,
            layer=arguments.layer,
        )
        found.write(folder, arguments.map)
    for check in [found.summary(), *found.checks()]:
        print(f"{check.about}: {check.text}")
    print(f"results: {arguments.out}/report.html")
