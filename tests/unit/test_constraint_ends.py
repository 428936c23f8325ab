"""Bound, settled and attained follow the multiplier's last course and the held-out value."""

import numpy as np
import pandas as pd

from cdgm.config.fit import Member, VariantSpec
from cdgm.evaluation.catalogue import metrics_of
from cdgm.evaluation.constraint_ends import constraint_ends

CONSTRAINED = VariantSpec.model_validate(
    {
        "combiner": {"kind": "sum"},
        "constraints": [
            {"kind": "upper_bound", "penalty": {"kind": "hsic", "of": "means", "estimator": "unbiased"},
             "level": 0.01, "rate": 1, "average": 0.9, "warm_up": 0},
            {"kind": "kl_floor", "level": 1, "rate": 1, "average": 0.9, "warm_up": 0},
        ],
    }
)  # fmt: skip


def scored(values: dict[str, list[float]], levels: dict[str, float]) -> pd.DataFrame:
    """Held-out values of each constraint, one a member, beside its level."""
    records = [
        {"point": "", "seed": 200 + e, "member": e, "finite": e != 3, "source": "", "block": name,
         "truth": "", "twist": 0.0, "metric": metric, "value": number, "null_mean": np.nan,
         "null_high": np.nan}
        for name, found in values.items()
        for e, value in enumerate(found)
        for metric, number in (("constraint_value", value), ("constraint_level", levels[name]))
    ]  # fmt: skip
    return pd.DataFrame(records)


def test_constraints_end_bound_settled_and_attained():
    steps = np.arange(10, 1001, 10)
    still = np.full(len(steps), 50.0)
    rising = np.linspace(0, 50, len(steps))
    # Settled but for a swing in the last tenth, which its two ends do not show.
    swinging = np.where(steps == 950, 60.0, 50.0)
    history = {
        "step": steps,
        "multiplier/hsic": np.stack([still, rising, np.zeros(len(steps)), swinging], axis=1),
        "multiplier/kl_floor": np.zeros((len(steps), 4)),
    }
    scores = scored(
        {"hsic": [0.009, 0.03, -0.001, 0.01], "kl_floor": [2, 0.5, 1, 3]}, {"hsic": 0.01, "kl_floor": 1}
    )
    members = [Member(200 + e, "", CONSTRAINED) for e in range(4)]
    ends = constraint_ends(scores, history, members)
    found = {key: rows["value"].tolist() for key, rows in ends.groupby(["block", "metric"])}
    assert found["hsic", "constraint_bound"] == [1, 1, 0, 1]
    np.testing.assert_array_equal(found["hsic", "constraint_settled"], [1, 0, np.nan, 0])
    assert found["hsic", "constraint_attained"] == [1, 0, 1, 1]
    assert found["kl_floor", "constraint_bound"] == [0] * 4
    # A floor is attained from above.
    assert found["kl_floor", "constraint_attained"] == [1, 0, 1, 1]
    assert set(ends.columns) == set(scores.columns)
    assert ends["finite"].tolist() == [True, True, True, False] * 6
    named = {*metrics_of("multiplier"), "constraint_attained"}
    assert set(ends["metric"]) == named


def test_a_fit_without_constraints_has_no_such_rows():
    plain = VariantSpec.model_validate({"combiner": {"kind": "sum"}})
    scores = scored({"hsic": [0.1]}, {"hsic": 0.1})
    assert constraint_ends(scores, {"step": np.array([1])}, [Member(200, "", plain)]).empty
