"""Make pictures small enough for a repository, and photograph pages."""

import shutil
import subprocess
import tempfile
from pathlib import Path

from PIL import Image

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
#: Pixels: enough for a page, and small enough for a repository.
WIDTH, COLOURS = 1200, 96
PAGE_SIZE = (1100, 1250)


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
