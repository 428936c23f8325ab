"""Make the pictures of the guide from the results of real runs; `make docs-images` does both."""

import sys
import tempfile
from pathlib import Path

import twist_explained
import witnesses_explained
from pictures import photograph, shrink

from cdgm.plotting.theme import DPI

#: Picture to the figure that it is a small copy of, in the folder of the runs.
COPIES = {"twist.png": "results/figures/identifiability/twist.png", "maps.png": "fit/figures/maps.png"}
#: Picture to what draws it without any run.
DRAWN = {
    "twist_explained.png": twist_explained.draw,
    "quantised_twist.png": witnesses_explained.quantised_twist,
    "gate.png": witnesses_explained.gate,
}
PAGE = "fit/report.html"


def main(runs: Path, images: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name, draw in DRAWN.items():
            drawn = Path(folder) / name
            draw().savefig(drawn, dpi=DPI)
            shrink(drawn, images / name)
    for name, figure in COPIES.items():
        shrink(runs / figure, images / name)
    photograph(runs / PAGE, images / "report.png")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
