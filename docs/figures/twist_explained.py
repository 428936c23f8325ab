"""Draw what the twist does, from the package's own simulation: `twist_explained.py FILE.png`."""

import sys
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cdgm.config.latent_twist import Twist
from cdgm.plotting.frames import panel_title
from cdgm.plotting.legends import point_handle
from cdgm.plotting.theme import LABEL_COLOURS, SOURCE_COLOURS, new_figure, theme
from cdgm.simulation.mixings import MIXINGS

POINTS, SHARED, SALIENT, FEATURES = 1500, 2, 3, 30
TWIST = Twist(angle=2.0, block="background", by="salient")
BASE = {"kind": "leaky_relu", "layers": 2, "slope": 0.2, "width": 8}
#: Points of about one norm of t: all of them are turned by about one angle.
SHELL = (1.4, 1.6)
LIMIT = 3.4
NAMES = {"z": "simulated truth", "z'": "twisted truth"}


def two_truths(seed: int) -> tuple[dict[str, tuple], dict[str, tuple]]:
    """Source to (latents, points) under a mixing f, and the same for f o T^-1 with the twisted latents."""
    rng = np.random.default_rng(seed)
    z = {source: rng.standard_normal((POINTS, SHARED)) for source in ("background", "target")}
    t = {"background": np.zeros((POINTS, SALIENT)), "target": rng.standard_normal((POINTS, SALIENT))}
    latents = {source: {"background": z[source], "salient": t[source]} for source in z}
    twisted = {"kind": "twisted", "base": BASE, "twist": TWIST.model_dump()}
    # Drawn from equal streams, both use the same f.
    plain, other = (
        MIXINGS.parse(mixing).draw(np.random.default_rng(seed + 1), SHARED + SALIENT, FEATURES)
        for mixing in (BASE, twisted)
    )
    first = {source: (u, plain(u)) for source, u in latents.items()}
    turned = {source: TWIST.apply(u, np) for source, u in latents.items()}
    return first, {source: (u, other(u)) for source, u in turned.items()}


def quadrant(z: np.ndarray) -> np.ndarray:
    """Which of four colours a point gets: that of its quadrant in the simulated truth."""
    places = 2 * (z[:, 1] > 0) + (z[:, 0] > 0)
    return np.array(LABEL_COLOURS[:4])[places]


@theme()
def draw(seed: int = 0) -> Figure:
    """Rows: the two truths. Columns: z of both sources, z at one norm of t, and the points that they make."""
    truths = two_truths(seed)
    colours = {source: quadrant(u["background"]) for source, (u, _) in truths[0].items()}
    norm = np.linalg.norm(truths[0]["target"][0]["salient"], axis=1)
    shell = (norm > SHELL[0]) & (norm < SHELL[1])
    points = {source: x for source, (_, x) in truths[0].items()}
    axes_of_points = np.linalg.svd(points["target"] - points["target"].mean(0), full_matrices=False)[2][:2].T
    largest = max(np.abs(truths[0][s][1] - truths[1][s][1]).max() for s in points)

    figure = new_figure(9.0, 5.0)
    panels = figure.subplots(2, 4)
    titles = ("background source", "target", f"target, |t| = {SHELL[0]} to {SHELL[1]}", "the data, two axes")
    for row, (truth, (name, kind)) in enumerate(zip(truths, NAMES.items(), strict=True)):
        z = {source: u["background"] for source, (u, _) in truth.items()}
        _dots(panels[row, 0], z["background"], colours["background"])
        _dots(panels[row, 1], z["target"], colours["target"])
        _dots(panels[row, 2], z["target"][shell], colours["target"][shell], size=6.0)
        for axes in panels[row, :3]:
            square(axes)
            axes.set_xlabel(f"{name}, first coordinate")
        panels[row, 0].set_ylabel(f"{kind}\n{name}, second coordinate")
        for (_, x), colour in zip(truth.values(), SOURCE_COLOURS, strict=False):
            _dots(panels[row, 3], x @ axes_of_points, colour)
        panels[row, 3].set(aspect="equal", xticks=[], yticks=[])
        for column, (axes, title) in enumerate(zip(panels[row], titles, strict=True)):
            panel_title(axes, "abcdefgh"[4 * row + column], title)
    panels[1, 3].set_xlabel(f"largest difference to (d): {largest:.0e}")
    handles = [point_handle(c, s) for s, c in zip(points, SOURCE_COLOURS, strict=False)]
    panels[0, 3].legend(handles=handles, loc="upper left", bbox_to_anchor=(0, 0), ncols=2, handletextpad=0.1)
    return figure


def square(axes: Axes) -> None:
    """Equal axes for two coordinates of standard normal latents."""
    ticks = [-2, 0, 2]
    axes.set(xlim=(-LIMIT, LIMIT), ylim=(-LIMIT, LIMIT), aspect="equal", xticks=ticks, yticks=ticks)


def _dots(axes: Axes, xy: np.ndarray, colours: object, size: float = 3.0) -> None:
    axes.scatter(xy[:, 0], xy[:, 1], s=size, c=colours, linewidths=0)


if __name__ == "__main__":
    draw().savefig(Path(sys.argv[1]), dpi=110)
