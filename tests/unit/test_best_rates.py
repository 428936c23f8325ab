"""Each variant has the rate of its smallest worst regret, against references at their own best rate."""

from pathlib import Path

import pandas as pd

from cdgm.config.layers import load_layers
from cdgm.config.study import parse_config
from tests.unit.best_rates import REFERENCE, best_rates

ROOT = Path(__file__).parents[2]


def rows(variant: str, point: str, rate: float, a: float, b: float) -> list[dict]:
    place = {"setting": f"small@learning_rate={rate}", "variant": variant, "point": point, "finite": True}
    return [
        {**place, "seed": seed, "source": source, "metric": "elbo", "value": value + off}
        for source, value in (("a", a), ("b", b))
        for seed, off in enumerate((-0.1, 0.0, 0.2))
    ]


def test_the_rate_of_the_smallest_worst_regret_is_found():
    scores = []
    for rate, alone, (a, b) in ((0.001, 4, (4, 0)), (0.002, 5, (3, 3)), (0.004, 3, (1, 9))):
        scores += rows(REFERENCE, "place=1", rate, alone, -50)
        scores += rows(REFERENCE, "place=2", rate, 90, alone)
        scores += rows("sum", "", rate, a, b)  # worst regrets 5, 2 and 4
        scores += rows("other", "", rate, rate * 1000, rate * 1000)
    assert best_rates(pd.DataFrame(scores)) == {
        REFERENCE: (0.002, True),
        "sum": (0.002, True),
        "other": (0.004, False),
    }


def test_rates_are_chosen_for_all_that_is_judged_and_on_other_seeds():
    files = [ROOT / "config.yaml", ROOT / "claims.yaml"]
    studies = parse_config(load_layers(files), files).studies
    chosen, used = studies["multi_objective_rates"], studies["multi_objective_fair"]
    # The front has the rate of the sum, and warm-ups those of what they are added to.
    added = {"fixed-front": "cvae", "private-warm-up": "cvae", "mo-private-warm-up": "mo-cvae"}
    assert set(used.variants) == set(chosen.variants) | set(added)
    rates = used.learning_rates
    assert all(rates.get(variant) == rates.get(like) for variant, like in added.items())
    assert not set(range(used.seeds.first, used.seeds.first + 40)) & set(range(900, 908))
    assert chosen.seeds.first == 900
