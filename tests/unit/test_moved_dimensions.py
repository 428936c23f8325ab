"""A moved dimension is told from a copy and set beside the alarm, in designs of two and of three sources."""

import numpy as np
import pandas as pd
import pytest

from cdgm.evaluation.catalogue import metrics_of
from cdgm.evaluation.moved_dimensions import moved_rows


def scored(members: list[dict[tuple, float]]) -> pd.DataFrame:
    """Scores of a stack: members' (source, block, truth) to a correlation, (sources, block) to a ratio."""
    records = [
        {"point": "", "seed": 200 + e, "member": e, "finite": e != 3, "source": place[0], "block": place[1],
         "truth": place[2] if len(place) == 3 else "", "twist": 0.0,
         "metric": "leakage_cc_max" if len(place) == 3 else "axis_asymmetry", "value": value,
         "null_mean": np.nan, "null_high": np.nan}
        for e, values in enumerate(members)
        for place, value in values.items()
    ]  # fmt: skip
    return pd.DataFrame(records)


def two(correlation: float, ratio: float) -> dict[tuple, float]:
    """A member of the contrastive design. The background's truth in the salient block does not count."""
    return {
        ("target", "background", "salient"): correlation,
        ("target", "salient", "background"): 0.99,
        ("target&background", "background"): ratio,
    }


def found(scores: pd.DataFrame) -> pd.DataFrame:
    return moved_rows(scores).pivot_table(index="member", columns="metric", values="value", dropna=False)


def test_moved_members_and_alarms():
    scores = scored([two(0.98, 12.0), two(0.98, 1.2), two(0.6, 1.2), two(0.6, 5.0), two(np.nan, 1.2)])
    rows = found(scores)
    np.testing.assert_array_equal(rows["dimension_moved"], [1, 1, 0, 0, np.nan])
    np.testing.assert_array_equal(rows["alarm_where_moved"], [1, 0, np.nan, np.nan, np.nan])
    np.testing.assert_array_equal(rows["alarm_elsewhere"], [np.nan, np.nan, 0, 1, np.nan])
    table = moved_rows(scores)
    assert set(table["metric"]) == set(metrics_of("moved dimensions"))
    assert list(table.columns) == list(scores.columns)
    assert table.loc[table["member"] == 3, "finite"].eq(False).all()


@pytest.mark.parametrize("into", ["a", "b"])
def test_any_private_truth_can_move_from_either_side(into):
    """Truths of a source that the other one lacks; a twisted truth of the same name says nothing."""
    member = {
        ("a", "shared", "own_a"): 0.1,
        ("b", "shared", "own_b"): 0.1,
        ("a&b", "shared"): 1.1,
        ("b&a", "shared"): 1.1,
    }
    moved = member | {
        (into, "shared", f"own_{into}"): 0.9,
        (f"{into}&{'ba'['ab'.index(into)]}", "shared"): 9.0,
    }
    scores = scored([member, moved])
    twisted = scores[scores["metric"] == "leakage_cc_max"].assign(twist=1.0, value=1.0)
    rows = found(pd.concat([scores, twisted]))
    assert rows["dimension_moved"].tolist() == [0, 1]
    assert rows["alarm_where_moved"].tolist()[1] == 1


def test_without_truths_or_sources_to_compare_there_are_no_rows():
    scores = scored([two(0.98, 12.0)])
    for metric in ("axis_asymmetry", "leakage_cc_max"):
        assert moved_rows(scores[scores["metric"] == metric]).empty
