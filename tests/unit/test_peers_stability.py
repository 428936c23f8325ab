"""Agreement between fits of a peer is right for fits whose relation is known."""

import numpy as np
import pytest

from benchmarks.peer_ours import our_fit
from benchmarks.peer_stability import AXIS_COLUMNS, COLUMNS, agreement_summary, agreement_table
from benchmarks.peer_tables import Fitted, Kept
from cdgm.config.fit import FitSpec

ROWS = {"background": 300, "target": 500}


@pytest.fixture(scope="module")
def ours() -> FitSpec:
    return our_fit("papalexi2021")


def fit(seed: int, elbo: float = -10.0, finite: bool = True) -> Kept:
    """A fit whose salient block is the same for all seeds but for a rotation; its background block is new."""
    truth, rng = np.random.default_rng(99), np.random.default_rng(seed)
    turn = np.linalg.qr(rng.standard_normal((2, 2)))[0]
    means = {}
    for source, n in ROWS.items():
        salient, background = truth.standard_normal((n, 2)), rng.standard_normal((n, 2))
        means["test", source, "salient"] = salient @ turn if source == "target" else 0 * salient
        means["test", source, "background"] = background
        # What training rows say must not matter.
        means["train", source, "salient"] = means["train", source, "background"] = rng.standard_normal((9, 2))
    return Kept(f"fit-{seed}", seed, Fitted(means, {"background": -5.0, "target": elbo}, {}, finite, 1.0))


def test_each_block_is_judged_on_the_cells_that_it_drives(ours: FitSpec):
    several = [fit(3), fit(4, -10.25), fit(5, -12.0)]
    table, axes = agreement_table({"fake": several}, ours.model.design, "d", 30, 0)
    assert list(table) == COLUMNS
    assert len(table) == 3 * 3
    by = table.set_index(["block", "seed_a", "seed_b"])
    salient, background, both = (
        table[table["block"] == block] for block in ("salient", "background", "background&salient")
    )
    assert salient["r2"].min() == pytest.approx(1)
    assert salient["agreement"].min() == pytest.approx(1)
    assert background["r2"].max() < 0.05
    assert (background["agreement"] < 0.2).all()
    # Side by side, half of the directions are shared.
    assert both["r2"].tolist() == pytest.approx([0.5] * 3, abs=0.1)
    assert (set(salient["rows"]), set(background["rows"])) == ({500}, {800})
    # The agreement is the mean of what the axes show: side by side, two are shared and two are not.
    assert list(axes) == AXIS_COLUMNS
    of = axes.set_index(["block", "seed_a", "seed_b", "axis"])["correlation"].sort_index()
    assert of.groupby(["block", "seed_a", "seed_b"]).mean().to_dict() == pytest.approx(
        by["agreement"].to_dict()
    )
    assert of.loc["background&salient", 3, 4].round(1).tolist() == pytest.approx([1, 1, 0, 0], abs=0.15)
    assert by.loc[("salient", 3, 4), "elbo_gap"] == pytest.approx(0.25)
    assert by.loc[("salient", 4, 5), "elbo_gap"] == pytest.approx(1.75)


def test_fits_that_diverged_are_left_out(ours: FitSpec):
    fits = {"one": [fit(3), fit(4, finite=False)], "two": [fit(3), fit(4, finite=False), fit(5)]}
    table, axes = agreement_table(fits, ours.model.design, "d", 2, 0)
    assert set(table["variant"]) == set(axes["variant"]) == {"two"}
    assert set(zip(table["seed_a"], table["seed_b"], strict=True)) == {(3, 5)}
    assert agreement_summary(table, axes, fits).count("\n| two |") == 3
