"""Maps of a fit show each cell in the colour of its label; no two names share a colour."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from cdgm.figures.fit_report import map_table, maps_figure
from cdgm.plotting.cell_maps import MOST_LABELS, by_label, by_source, distinct, draw_map
from cdgm.plotting.saving import save
from cdgm.plotting.theme import UNLABELLED_COLOUR, new_figure


def latents(labels: int, cells: int = 120) -> pd.DataFrame:
    """Two blocks of three and two dimensions; every tenth cell has no label."""
    rng = np.random.default_rng(0)
    label = np.array([f"type_{i % max(labels, 1)}" if labels and i % 10 else "" for i in range(cells)])
    shared = {f"background_{i}": rng.standard_normal(cells) for i in range(3)}
    private = {f"salient_{i}": rng.standard_normal(cells) for i in range(2)}
    source = np.resize(["ctrl", "drug"], cells)
    return pd.DataFrame(
        {"cell": np.arange(cells).astype(str), "source": source, "label": label} | shared | private
    )


def legend_of(figure, place=-1):
    """Texts and colours of one of a figure's legends."""
    legend = figure.legends[place]
    colours = [handle.get_color() for handle in legend.legend_handles]
    return dict(zip((t.get_text() for t in legend.get_texts()), colours, strict=True))


@pytest.mark.parametrize("count", [1, 8, 9, 20, 21, 102, 150])
def test_no_two_names_have_one_colour(count):
    names = [str(i) for i in range(count)]
    assert len(set(distinct(names).values())) == count
    assert len(set(by_source(names).colours.values())) == count


def test_rare_labels_share_the_grey_of_cells_without_one():
    labels = pd.Series([f"l{i:02d}" for i in range(MOST_LABELS + 5) for _ in range(40 - i)] + [""])
    colouring = by_label(labels, "no label")
    assert list(colouring.colours) == [f"l{i:02d}" for i in range(MOST_LABELS)]
    assert UNLABELLED_COLOUR not in colouring.colours.values()
    assert colouring.handles()[-1].get_label() == "5 other labels,\nno label"
    assert by_label(pd.Series(["a", "b"]), "no label").grey == ""


def test_a_map_has_each_cell_in_the_colour_of_its_label():
    cells = map_table(latents(3), ["salient"], "umap")
    cells.loc[0, "x"] = np.nan
    axes = new_figure(3, 3).subplots()
    colouring = by_label(cells["label"], "no label")
    draw_map(axes, cells, colouring, "latent")
    (points,) = axes.collections
    expected = cells[1:].set_index(["x", "y"])["label"].map(colouring.colours).fillna(UNLABELLED_COLOUR)
    drawn = {tuple(place): plt.matplotlib.colors.to_hex(c) for place, c in
             zip(points.get_offsets().data, points.get_facecolors(), strict=True)}  # fmt: skip
    assert drawn == {place: colour.lower() for place, colour in expected.items()}
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("latent 1", "latent 2")
    assert plt.get_fignums() == []
    empty = new_figure(3, 3).subplots()
    draw_map(empty, cells[:1], colouring)
    assert empty.texts[0].get_text() == "no map"


@pytest.mark.parametrize("labels", [0, 14])
def test_maps_of_a_fit_name_blocks_labels_and_axes(labels, tmp_path):
    maps = map_table(latents(labels), ["background", "salient"], "pca")
    figure = maps_figure(maps, ["ctrl", "drug"], "cell_type")
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    by = ["source", "cell_type"] if labels else ["source"]
    assert titles == [f"{block} block, by {name}" for block in ("background", "salient") for name in by]
    # Two dimensions are shown as they are.
    assert {axes.get_xlabel() for axes in figure.axes} == {"PC 1", "latent 1"}
    assert set(legend_of(figure, 0)) == {"ctrl", "drug"}
    if labels:
        named = legend_of(figure)
        assert len(set(named.values())) == len(named) == labels + 1
        assert figure.legends[-1].get_title().get_text() == "cell_type"
    for part in "ab":
        save(maps_figure(maps, ["ctrl", "drug"], "cell_type"), maps, tmp_path / part)
    for kind in ("png", "pdf"):
        assert (tmp_path / f"a.{kind}").read_bytes() == (tmp_path / f"b.{kind}").read_bytes()


@pytest.mark.filterwarnings("error")
def test_names_of_a_user_are_drawn_letter_by_letter(tmp_path):
    """Broken formulas, a name that matplotlib leaves out of legends, letters that its font lacks."""
    names = ["$\\frac{a$", "$x_{$", "_hidden", "\U0001f9eb"]
    table = latents(0).assign(label=np.resize(names, 120))
    maps = map_table(table, ["background", "salient"], "pca")
    figure = maps_figure(maps, ["ctrl", "drug"], "$\\alpha$ and $\\frac$")
    assert [text.strip().replace("\\$", "$") for text in legend_of(figure)] == sorted(names)
    save(figure, maps, tmp_path / "maps")
    assert (tmp_path / "maps.png").stat().st_size > 10_000
