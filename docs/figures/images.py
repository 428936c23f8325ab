"""Make the pictures of the guide from the results of real runs; `make docs-images` does both."""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import twist_explained
import witnesses_explained
from PIL import Image

from cdgm.plotting.theme import DPI

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
#: Pixels: enough for a page, and small enough for a repository.
WIDTH, COLOURS = 1200, 96
#: Picture to the figure that it is a small copy of, in the folder of the runs.
COPIES = {"twist.png": "results/figures/identifiability/twist.png", "maps.png": "fit/figures/maps.png"}
#: Picture to what draws it without any run.
DRAWN = {
    "twist_explained.png": twist_explained.draw,
    "quantised_twist.png": witnesses_explained.quantised_twist,
    "gate.png": witnesses_explained.gate,
}
PAGE, PAGE_SIZE = "fit/report.html", (1100, 1250)


def shrink(source: Path, target: Path) -> None:
    """A copy of a picture with fewer pixels and colours."""
    with Image.open(source) as picture:
        picture = picture.convert("RGB")
        picture.thumbnail((WIDTH, 10 * WIDTH), Image.Resampling.LANCZOS)
        # The usual method averages rare colours, those of thin lines.
        few = picture.quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        few.save(target, optimize=True)


def photograph(page: Path, target: Path) -> None:
    """The top of a page as a browser shows it."""
    width, height = PAGE_SIZE
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        print(f"{target}: left as it is, none of {', '.join(BROWSERS)} is there to photograph {page}")
        return
    with tempfile.TemporaryDirectory() as folder:
        shot = Path(folder) / "page.png"
        options = [f"--window-size={width},{height}", f"--screenshot={shot}", f"--user-data-dir={folder}"]
        subprocess.run(
            [browser, "--headless", "--no-sandbox", "--hide-scrollbars", *options, page.resolve().as_uri()],
            check=True,
            capture_output=True,
        )
        shrink(shot, target)


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
