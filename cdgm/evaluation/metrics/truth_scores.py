"""All scores of one fitted member against the truths of a simulation, as tidy rows.

Blocks and sources are whatever the mappings name. A block counts as active in a source where the source has
a truth for it, and is scored there only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from cdgm.evaluation.metrics.independence import hsic_biased, hsic_test, spread_rows
from cdgm.evaluation.metrics.nulls import NO_NULL, Null, row, summary
from cdgm.evaluation.metrics.recovery import active_dims, alignment, held_out_correlations, mcc
from cdgm.evaluation.metrics.regression import KernelRegression, linear_r2
from cdgm.utils.joint_names import JOINT

Blocks = Mapping[str, np.ndarray]
Sources = Mapping[str, Blocks]
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

    Rows of the estimate are shuffled against the truth. For ``entanglement_r2`` only the *other* blocks
    are: the question there is what they add to the block's own knowledge. The same nulls serve all twists.

    Parameters
    ----------
    means, truths
        As in :func:`score_member`.
    rng
        Generator or seed.
    draws, nonlinear_draws, entanglement_draws
        Permutations of the linear scores (milliseconds each), of the nonlinear ones (which share a
        factorisation) and of the entanglement (a factorisation each).
    """
    rng = np.random.default_rng(rng)
    nulls: dict[tuple[str, str, str, str], Null] = {}
    for source, true_blocks in truths.items():
        blocks = {name: means[source][name] for name in true_blocks}
        for name, estimate in blocks.items():
            regression = KernelRegression([estimate])
            for truth, values in true_blocks.items():
                orders = [rng.permutation(len(values)) for _ in range(draws)]
                drawn: dict[str, list[float]] = {}
                for order in orders:
                    for metric, value in _linear_scores(name == truth, estimate[order], values):
                        drawn.setdefault(metric, []).append(value)
                drawn.pop("alignment_min", None), drawn.pop("alignment_max", None)
                # Shuffling the truth gives the same distribution and keeps the inputs' factorisation.
                metric = "recovery_r2_nonlinear" if name == truth else "leakage_r2_nonlinear"
                drawn[metric] = regression.r2([values[order] for order in orders[:nonlinear_draws]])
                nulls |= {(source, name, truth, metric): summary(v) for metric, v in drawn.items()}
                if "leakage_cc" in drawn:
                    mean, high = nulls[source, name, truth, "leakage_cc"]
                    nulls[source, name, truth, "leakage_cc_excess"] = (0.0, high - mean)
        for key, null in _entanglement_nulls(blocks, true_blocks, rng, entanglement_draws).items():
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
    correlations = held_out_correlations(estimate, truth)
    if own:
        yield "recovery_cc", float(correlations.mean())
        yield "recovery_r2", linear_r2(estimate, truth)
        yield "mcc", mcc(estimate, truth)
        smallest, largest = alignment(estimate, truth)
        yield "alignment_min", smallest
        yield "alignment_max", largest
        return
    yield "leakage_cc", float(correlations.mean())
    yield "leakage_cc_max", float(correlations.max())
    null = (nulls or {}).get((source, block, name, "leakage_cc"))
    if null is not None:
        yield "leakage_cc_excess", float(correlations.mean()) - null[0]
    yield "leakage_r2", linear_r2(estimate, truth)


def _nonlinear_scores(
    blocks: Blocks, targets: list[tuple[tuple[str, np.ndarray], list[float]]]
) -> Iterator[tuple[str, str, str, float, list[float]]]:
    """(block, truth, metric, value, twists): one set of factorisations a block, and one for all together."""
    values = [truth for (_, truth), _ in targets]
    alone = {name: KernelRegression([estimate]).r2(values) for name, estimate in blocks.items()}
    for block, scores in alone.items():
        for ((truth, _), twists), score in zip(targets, scores, strict=True):
            metric = "recovery_r2_nonlinear" if block == truth else "leakage_r2_nonlinear"
            yield block, truth, metric, score, twists
    if len(blocks) < 2:
        return
    together = KernelRegression(list(blocks.values())).r2(values)
    for i, ((truth, _), twists) in enumerate(targets):
        yield JOINT.join(blocks), truth, "entanglement_r2", together[i] - alone[truth][i], twists


def _entanglement_nulls(
    blocks: Blocks, truths: Blocks, rng: np.random.Generator, draws: int
) -> dict[tuple[str, str, str], Null]:
    if len(blocks) < 2:
        return {}
    names = list(truths)
    alone = [KernelRegression([blocks[name]]).r2([truths[name]])[0] for name in names]
    drawn = []
    for _ in range(draws):
        # Each block moves along with its own truth, so only the ties between blocks are cut, and one
        # factorisation serves all truths.
        orders = [rng.permutation(len(truths[name])) for name in names]
        regression = KernelRegression([blocks[name][o] for name, o in zip(names, orders, strict=True)])
        drawn.append(regression.r2([truths[name][o] for name, o in zip(names, orders, strict=True)]))
    excess = (np.array(drawn) - np.array(alone)).T
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
