"""All scores of one fitted member against the truths of a simulation, as tidy rows.

Blocks and sources are whatever the mappings name. A block counts as active in a source where the source has
a truth for it, and is scored there only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from cdgm.evaluation.metrics.independence import hsic_biased, hsic_test, spread_rows
from cdgm.evaluation.metrics.nulls import NO_NULL, Null, row, summary
from cdgm.evaluation.metrics.recovery import Halves, active_dims, alignment
from cdgm.evaluation.metrics.regression import KernelRegression
from cdgm.utils.joint_names import JOINT

Blocks = Mapping[str, np.ndarray]
Sources = Mapping[str, Blocks]
#: Numbers of shuffled truths that are scored at once.
STACKED_NUMBERS = 100_000
#: Nulls by (source, block, truth, metric).
Nulls = Mapping[tuple[str, str, str, str], Null]


def score_member(
    means: Sources,
    truths: Sources,
    twisted: Mapping[float, Sources] | None = None,
    rng: np.random.Generator | int = 0,
    nulls: Nulls | None = None,
    hsic_draws: int = 199,
) -> list[dict[str, object]]:
    """Score the posterior means of one member.

    Parameters
    ----------
    means
        Held-out posterior means, ``{source: {block: (n, d)}}``; may hold inactive blocks, which are ignored.
    truths
        True latents of the same points, active blocks only.
    twisted
        Further truths of the same points by twist angle. The angle 0 *is* ``truths``; an entry for it is
        ignored.
    rng
        Generator or seed of the permutations behind ``hsic_p``; nothing else here is random.
    nulls
        What :func:`draw_nulls` gave for the first member of the study; without it the columns are NaN.
    hsic_draws
        Permutations of the test of independence.

    Returns
    -------
    list of dict
        Keys source, block, truth, twist, metric, value, null_mean, null_high.
    """
    rng = np.random.default_rng(rng)
    nulls = nulls or {}
    rows: list[dict[str, object]] = []
    for source, true_blocks in truths.items():
        blocks = {name: means[source][name] for name in true_blocks}
        angles = {0.0: true_blocks}
        angles |= {float(c): t[source] for c, t in (twisted or {}).items() if c != 0 and source in t}
        targets = _targets(angles)
        for name, estimate in blocks.items():
            rows.append(row(source, name, "", "active_dims", active_dims(estimate)))
            rows.append(row(source, name, "", "true_dims", float(true_blocks[name].shape[1])))
            for (truth, values), twists in targets:
                for metric, value in _linear_scores(
                    name == truth, estimate, values, source, name, truth, nulls
                ):
                    null = nulls.get((source, name, truth, metric), NO_NULL)
                    rows += [row(source, name, truth, metric, value, null, twist) for twist in twists]
        for block, truth, metric, value, twists in _nonlinear_scores(blocks, targets):
            null = nulls.get((source, block, truth, metric), NO_NULL)
            rows += [row(source, block, truth, metric, value, null, twist) for twist in twists]
        rows += _independence_rows(source, blocks, rng, hsic_draws)
    return rows


def draw_nulls(
    means: Sources,
    truths: Sources,
    rng: np.random.Generator | int = 0,
    draws: int = 100,
    nonlinear_draws: int = 20,
    entanglement_draws: int = 5,
) -> dict[tuple[str, str, str, str], Null]:
    """Permutation nulls of every recovery and leakage score, from one member.

    Rows of the truth are shuffled against the estimate, whose factorisations serve all draws. For
    ``entanglement_r2`` only the *other* blocks are: the question there is what they add to the block's own
    knowledge. The same nulls serve all twists.

    Parameters
    ----------
    means, truths
        As in :func:`score_member`.
    rng
        Generator or seed.
    draws, nonlinear_draws, entanglement_draws
        Permutations of the linear scores, of the nonlinear ones (both share factorisations) and of the
        entanglement (a factorisation each).
    """
    rng = np.random.default_rng(rng)
    nulls: dict[tuple[str, str, str, str], Null] = {}
    for source, true_blocks in truths.items():
        blocks = {name: means[source][name] for name in true_blocks}
        alone: dict[str, float] = {}
        for name, estimate in blocks.items():
            regression, shuffled = KernelRegression([estimate]), {}
            for truth, values in true_blocks.items():
                orders = [rng.permutation(len(values)) for _ in range(draws)]
                drawn = _linear_nulls(name == truth, estimate, values, orders)
                nulls |= {(source, name, truth, metric): summary(v) for metric, v in drawn.items()}
                if "leakage_cc" in drawn:
                    mean, high = nulls[source, name, truth, "leakage_cc"]
                    nulls[source, name, truth, "leakage_cc_excess"] = (0.0, high - mean)
                shuffled[truth] = [values[order] for order in orders[:nonlinear_draws]]
            # One call, so that all truths share the factorisations.
            scores = regression.r2([true_blocks[name], *(v for values in shuffled.values() for v in values)])
            alone[name] = scores.pop(0)
            for truth, values in shuffled.items():
                drawn, scores = scores[: len(values)], scores[len(values) :]
                nulls[source, name, truth, _nonlinear(name, truth)] = summary(drawn)
        for key, null in _entanglement_nulls(blocks, true_blocks, alone, rng, entanglement_draws).items():
            nulls[source, *key] = null
    return nulls


def _targets(angles: Mapping[float, Blocks]) -> list[tuple[tuple[str, np.ndarray], list[float]]]:
    """Distinct truths (block, values), each with the twists that share it.

    The twist leaves most blocks and sources as they are; what is equal is scored once.
    """
    found: list[tuple[tuple[str, np.ndarray], list[float]]] = []
    for angle, blocks in angles.items():
        for name, values in blocks.items():
            for (known, other), twists in found:
                if known == name and np.array_equal(other, values):
                    twists.append(angle)
                    break
            else:
                found.append(((name, values), [angle]))
    return found


def _linear_scores(
    own: bool,
    estimate: np.ndarray,
    truth: np.ndarray,
    source: str = "",
    block: str = "",
    name: str = "",
    nulls: Nulls | None = None,
) -> Iterator[tuple[str, float]]:
    """Pairwise scores: recovery of the block's own truth, or leakage of another one."""
    scores = _stacked_scores(own, estimate, truth)
    yield from ((metric, float(value)) for metric, value in scores.items())
    if own:
        smallest, largest = alignment(estimate, truth)
        yield "alignment_min", smallest
        yield "alignment_max", largest
        return
    null = (nulls or {}).get((source, block, name, "leakage_cc"))
    if null is not None:
        yield "leakage_cc_excess", float(scores["leakage_cc"]) - null[0]


def _stacked_scores(own: bool, estimate: np.ndarray, truth: np.ndarray) -> dict[str, np.ndarray]:
    """The pairwise scores that have a null, (...) for truths (..., n, q)."""
    moments = Halves.of(estimate, truth)
    correlations, r2 = moments.canonical_correlations(), moments.r2()
    mean = correlations.mean(axis=-1)
    if own:
        return {"recovery_cc": mean, "recovery_r2": r2, "mcc": moments.mcc()}
    return {"leakage_cc": mean, "leakage_cc_max": correlations.max(axis=-1), "leakage_r2": r2}


def _linear_nulls(
    own: bool, estimate: np.ndarray, truth: np.ndarray, orders: list[np.ndarray]
) -> dict[str, np.ndarray]:
    """Scores (draws,) of the truth in each order."""
    # So many at a time that they stay in the cache.
    size = max(1, STACKED_NUMBERS // truth.size)
    parts = [
        _stacked_scores(own, estimate, truth[np.stack(orders[start : start + size])])
        for start in range(0, len(orders), size)
    ]
    return {metric: np.concatenate([part[metric] for part in parts]) for metric in parts[0]}


def _nonlinear(block: str, truth: str) -> str:
    """Name of the nonlinear score of a block alone against a truth."""
    return "recovery_r2_nonlinear" if block == truth else "leakage_r2_nonlinear"


def _nonlinear_scores(
    blocks: Blocks, targets: list[tuple[tuple[str, np.ndarray], list[float]]]
) -> Iterator[tuple[str, str, str, float, list[float]]]:
    """(block, truth, metric, value, twists): one set of factorisations a block, and one for all together."""
    values = [truth for (_, truth), _ in targets]
    alone = {name: KernelRegression([estimate]).r2(values) for name, estimate in blocks.items()}
    for block, scores in alone.items():
        for ((truth, _), twists), score in zip(targets, scores, strict=True):
            yield block, truth, _nonlinear(block, truth), score, twists
    if len(blocks) < 2:
        return
    together = KernelRegression(list(blocks.values())).r2(values)
    for i, ((truth, _), twists) in enumerate(targets):
        yield JOINT.join(blocks), truth, "entanglement_r2", together[i] - alone[truth][i], twists


def _entanglement_nulls(
    blocks: Blocks, truths: Blocks, alone: Mapping[str, float], rng: np.random.Generator, draws: int
) -> dict[tuple[str, str, str], Null]:
    """By blocks, truth and metric; ``alone`` is the score of each truth on its own block."""
    if len(blocks) < 2:
        return {}
    names = list(truths)
    drawn = []
    for _ in range(draws):
        # Each block moves along with its own truth, so only the ties between blocks are cut, and one
        # factorisation serves all truths.
        orders = [rng.permutation(len(truths[name])) for name in names]
        regression = KernelRegression([blocks[name][o] for name, o in zip(names, orders, strict=True)])
        drawn.append(regression.r2([truths[name][o] for name, o in zip(names, orders, strict=True)]))
    excess = (np.array(drawn) - [alone[name] for name in names]).T
    return {
        (JOINT.join(blocks), name, "entanglement_r2"): summary(e)
        for name, e in zip(names, excess, strict=True)
    }


def _independence_rows(
    source: str, blocks: Blocks, rng: np.random.Generator, draws: int
) -> Iterator[dict[str, object]]:
    names = list(blocks)
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            pair = JOINT.join([first, second])
            value, p, null = hsic_test(blocks[first], blocks[second], rng, draws)
            yield row(source, pair, "", "hsic", value, null)
            yield row(source, pair, "", "hsic_p", p)
            rows = spread_rows(len(blocks[first]))
            biased = hsic_biased(blocks[first][rows], blocks[second][rows])
            yield row(source, pair, "", "hsic_biased", biased)
