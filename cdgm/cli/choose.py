"""``cdgm choose``."""

from __future__ import annotations

import argparse

from cdgm.cli.data_options import add_data_options, add_options, opened
from cdgm.cli.inputs import present, results_folder, variant
from cdgm.utils.command_line import positive
from cdgm.utils.errors import UserError

SUMMARY = "choose dimensions or a level: fit several and recommend one"
DESCRIPTION = """\
Fit a model at several sizes of its blocks (`dims`), or at several weights of its penalties or levels of its
constraints (`level`), and recommend one by a rule that docs/own_data.md writes down and measures. Sizes
first: whether blocks are clean depends on them. Or begin with too many background dimensions, and take out
those that only the target uses (`prune`).
"""
EPILOG = """\
examples
  cdgm choose dims cells.h5ad --source-key condition --background ctrl --n-genes 2000 --out sizes
  cdgm choose dims arrays.npz --background healthy --n-background 3 5 8 --n-salient 2 3 5 --out sizes
  cdgm choose level arrays.npz --background healthy --n-background 5 --n-salient 3 --out level

`cdgm choose dims --help` and the same of level and prune explain each.
"""
DIMS = """\
what it does
  Fits every combination of --n-background and --n-salient, so begin with few of each. Written to --out:
  dimensions.csv   a row a size: held-out ELBO, agreement of members, active axes, traces of leakage, and the
                   decisions of the rule
  dimensions.png   the same as a figure (and .pdf)

examples
  cdgm choose dims cells.h5ad --source-key condition --background ctrl --n-background 5 10 20 --out sizes
"""
LEVEL = """\
what it does
  Fits the variant once without its penalties (or constraints), and at each level. Levels are weights of
  penalties; of constraints, the share of chance that lies above the level (alpha), or the level itself where
  the variant has one. Written to --out:
  level.csv      a row a level: held-out ELBO, traces of leakage with their nulls, agreement of members, and
                 the decisions of the rule
  level.png      the same as a figure (and .pdf)
  variant.json   the variant at the recommended level: cdgm fit ... --variant level/variant.json

examples
  cdgm choose level arrays.npz --background healthy --out level
  cdgm choose level arrays.npz --background healthy --variant co-cvae --levels 0.01 0.05 0.5 --out level
  cdgm choose level arrays.npz --background healthy --variant hsic-mmd-cvae --of hsic --out level
"""
PRUNE = """\
what it does
  Fits the sizes that are given, which should be too large. If a background axis varies in the target and
  hardly in the background, something of the target has moved into a spare dimension. Fits again without
  these, and so on, until no member has such an axis. Written to --out:
  path.csv   a row a fit and member: sizes, held-out ELBO, asymmetry of axes, number of moved axes
  path.png   the same as a figure (and .pdf)

examples
  cdgm choose prune arrays.npz --background healthy --n-background 10 --n-salient 5 --out pruned
  cdgm choose prune cells.h5ad --source-key condition --background ctrl --n-background 20 --out pruned
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    what = parser.add_subparsers(dest="what", metavar="WHAT", required=True)
    raw = argparse.RawDescriptionHelpFormatter
    dims = what.add_parser("dims", help="sizes of both blocks", epilog=DIMS, formatter_class=raw)
    model = _common(dims, "cvae")
    for block, usual in (("background", (5, 10, 20)), ("salient", (2, 5, 10))):
        shown = f"dimensions to try (default: {' '.join(map(str, usual))})"
        add_options(model, f"--n-{block}", nargs="+", default=list(usual), help=shown)
    level = what.add_parser("level", help="weight or level of a variant", epilog=LEVEL, formatter_class=raw)
    model = _common(level, "hsic-mmd-cvae")
    model.add_argument(
        "--levels", type=float, nargs="+", metavar="X", help="levels to try (default: see the table)"
    )
    model.add_argument("--of", metavar="NAME", help="penalty or constraint to sweep alone (default: all)")
    add_options(model, "--n-background", "--n-salient")
    prune = what.add_parser(
        "prune", help="too many dimensions, less those that moved", epilog=PRUNE, formatter_class=raw
    )
    model = _common(prune, "cvae")
    add_options(model, "--n-background", "--n-salient")
    model.add_argument(
        "--max-refits", type=positive, default=10, metavar="N", help="most fits after the first (default: 10)"
    )


def _common(parser: argparse.ArgumentParser, usual: str) -> argparse._ArgumentGroup:
    add_data_options(parser)
    add_options(parser, "--overwrite")
    model = parser.add_argument_group("the fits")
    add_options(model, "--variant", default=usual)
    add_options(model, "--members", default=3, help="seeds of each fit (default: 3)")
    add_options(model, "--max-steps", "--early-stopping", "--device")
    add_options(model, "--likelihood", "--n-genes", "--held-out", "--seed")
    return model


def run(arguments: argparse.Namespace) -> None:
    """Sweep, recommend, write: all results or none."""
    if arguments.members < 2 and arguments.what != "prune":
        raise UserError(f"--members: got {arguments.members}, expected two or more, to compare them")
    with results_folder(arguments) as folder:
        data, options = opened(arguments)
        options |= {
            "n_background": arguments.n_background,
            "n_salient": arguments.n_salient,
            "n_members": arguments.members,
            "max_steps": arguments.max_steps,
            "early_stopping": arguments.early_stopping,
            "device": arguments.device,
            "variant": variant(arguments.variant),
        }
        if arguments.what == "dims":
            from cdgm.estimator.selection.dimensions import choose_dimensions

            found = choose_dimensions(data, **options)
            found.plot(folder / "dimensions")
            choice = f"--n-background {found.n_background} --n-salient {found.n_salient}"
        elif arguments.what == "prune":
            from cdgm.estimator.selection.pruning import prune_dimensions

            found = prune_dimensions(data, max_refits=arguments.max_refits, **options)
            found.plot(folder / "path")
            choice = f"--n-background {found.n_background} --n-salient {found.n_salient}"
        else:
            from cdgm.estimator.selection.level import choose_level
            from cdgm.utils.files import write_json

            found = choose_level(data, **options, **present(levels=arguments.levels, of=arguments.of))
            found.plot(folder / "level")
            write_json(folder / "variant.json", found.variant)
            choice = f"--variant {arguments.out}/variant.json"
    print(found.reason)
    print(f"to fit it: cdgm fit ... {choice}")
    print(f"results: {arguments.out}")
