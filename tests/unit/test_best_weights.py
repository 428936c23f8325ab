"""The weight of each family is the one of least leakage that keeps both blocks."""

from pathlib import Path

import pandas as pd

from cdgm.config.claim import AnyOf
from cdgm.config.layers import load_layers
from cdgm.config.study import parse_config
from tests.unit.best_weights import FAMILIES, best_weights

ROOT = Path(__file__).parents[2]


def rows(
    variant: str, point: str | None, leakage: float, recovery: float = 0.95, kl: float = 8.0
) -> list[dict]:
    place = {"variant": variant, "point": point, "source": "target", "twist": 0.0}
    values = [
        ("leakage_r2_nonlinear", "background", "salient", leakage),
        ("recovery_cc", "background", "background", recovery),
        ("kl", "salient", "", kl),
    ]
    # The medians count: a seed that is far off moves none.
    return [
        {**place, "seed": seed, "metric": metric, "block": block, "truth": truth, "value": value + off}
        for metric, block, truth, value in values
        for seed, off in enumerate((-0.001, 0.0, 9.0))
    ]


def test_the_least_leakage_counts_among_weights_that_keep_both_blocks():
    scores = [
        *rows("cvae", None, 0.3),
        *rows("hsic-weights", "hsic.weight=1", 0.2),
        *rows("hsic-weights", "hsic.weight=10", 0.1, recovery=0.89),
        *rows("hsic-weights", "hsic.weight=100", 0.05, kl=3.9),
        *rows("mmd-weights", "mmd_shared.weight=1", 0.3),
        *rows("tc-weights", "tc.weight=1", 0.2, recovery=0.5),
        *rows("tc-weights", "tc.weight=2", 0.1, recovery=0.5),
        *rows("wasserstein-weights", "wasserstein_inactive.weight=1", 0.2),
        *rows("wasserstein-means-weights", "wasserstein_inactive.weight=1", 0.1),
        *rows("mm-cvae", None, 0.3),
        *rows("mm-cvae-means", None, 0.4),
    ]
    assert best_weights(pd.DataFrame(scores)) == {
        "HSIC": ("hsic-weights", "hsic.weight=1"),
        "MMD": ("mmd-weights", "mmd_shared.weight=1"),
        # None keeps the background block.
        "TC": ("tc-weights", "tc.weight=2"),
        "Wasserstein": ("wasserstein-means-weights", "wasserstein_inactive.weight=1"),
        "MM-cVAE": ("mm-cvae", ""),
    }


def test_the_claim_judges_one_weight_of_each_family_on_seeds_that_chose_none():
    files = [ROOT / "config.yaml", ROOT / "claims.yaml"]
    config = parse_config(load_layers(files), files)
    (group,) = config.claims["regularisers_halve_leakage"].conditions
    assert isinstance(group, AnyOf)
    starts = list(FAMILIES.values())
    judged = [place.variant for place in group.any_of]
    assert [v.startswith(start) for v, start in zip(judged, starts, strict=True)] == [True] * len(starts)
    chosen, used = config.studies["tuning"], config.studies["regularisation"]
    assert chosen.variants == used.variants
    assert chosen.seeds.first >= used.seeds.first + max(config.verdicts.looks)
