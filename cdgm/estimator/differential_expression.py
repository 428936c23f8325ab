"""Differential expression by a trained model: the effect of a block, or between groups of cells."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from cdgm.data.read_cells import text_columns
from cdgm.estimator.decoded_samples import Scale, decoded_samples
from cdgm.estimator.gene_ranking import private_block
from cdgm.estimator.specification import LARGEST_SEED, MOST_DRAWS, whole_number
from cdgm.evaluation.effect_posterior import bulk_p_values, effect_table, label_p_values
from cdgm.evaluation.metrics.independence import spread_rows
from cdgm.training.spread import one_thread
from cdgm.utils.errors import bad_input

if TYPE_CHECKING:
    from cdgm.estimator.queries import Queries

logger = logging.getLogger(__name__)
REST = "rest"


@dataclass(frozen=True)
class Comparison:
    """What is compared, and how.

    Attributes
    ----------
    groupby, group1, group2, block
        As in ``ComparativeModel.differential_expression``.
    delta, samples, cells, seed
        Its other arguments, checked.
    """

    groupby: str | None
    group1: str | Sequence[str] | None
    group2: str | None
    block: str | None
    delta: float
    samples: int
    cells: int
    seed: int

    @classmethod
    def checked(cls, delta: Any, n_samples: Any, cells: Any, seed: Any, **groups: Any) -> Comparison:
        """Refuse arguments that cannot be.

        Raises
        ------
        UserError
            Naming the argument, its value, and what is expected.
        """
        if isinstance(delta, bool) or not isinstance(delta, Real) or not 0 <= float(delta) < np.inf:
            raise bad_input("delta", "", delta, "a finite number of at least 0")
        if groups["groupby"] is None and groups["group1"] is not None:
            raise bad_input("group1", "", groups["group1"], "groupby= beside it: a column of labels")
        if groups["group2"] is not None and (groups["groupby"] is None or groups["block"] is not None):
            raise bad_input("group2", "", groups["group2"], "groupby= beside it, and no block=")
        return cls(
            delta=float(delta),
            samples=whole_number("n_samples", "", n_samples, 2, MOST_DRAWS),
            cells=whole_number("cells", "", cells, 2, 2**31 - 1),
            seed=whole_number("seed", "", seed, 0, LARGEST_SEED),
            **groups,
        )


@one_thread()  # numba and others leave torch with more threads, which wait for each other at each chunk
def differential_expression_table(model: Queries, what: Comparison) -> pd.DataFrame:
    """See ``ComparativeModel.differential_expression``."""
    if model.model_spec.posterior == "full_covariance":
        expected = "a posterior that is independent between latents: mean_field or twisted"
        raise bad_input("differential_expression", "model.posterior", "full_covariance", expected)
    members = len(model.ensemble.members())
    if members == 1:
        logger.info("one member: what another seed would find is not in the intervals (n_members=4)")
    per_member = -(-what.samples // members)
    if what.groupby is None or what.block is not None:
        return _block_table(model, what, per_member)
    return _group_table(model, what, per_member)


def _block_table(model: Queries, what: Comparison, per_member: int) -> pd.DataFrame:
    """Effect of a block: rows of its source with the block, against the same rows without it."""
    observations, design = model.observations, model.model_spec.design
    source, block = private_block(design, what.block)
    positions, name = np.arange(len(observations.x[source])), f"{block} vs none"
    if what.groupby is not None:
        group = _groups(model, what.groupby)[source]
        chosen = _names("group1", what.group1, group)
        positions, name = np.flatnonzero(np.isin(group, chosen)), f"{name}: {', '.join(chosen)}"
    rows = {source: positions[spread_rows(len(positions), what.cells)]}
    scale = Scale.of(model, rows)
    sums: dict[str, np.ndarray] = {}
    for sample in decoded_samples(model, rows, per_member, what.seed, block):
        assert sample.without is not None
        effect = scale.level(sample.value) - scale.level(sample.without)
        terms = {"effect": effect, "square": effect**2, "first": sample.value, "second": sample.without}
        terms["weight"] = np.ones((*sample.weight.shape, 1))
        for term, values in terms.items():
            if term not in sums:
                sums[term] = np.zeros((per_member, len(sample.weight), values.shape[-1]))
            sums[term][sample.number] += _weighted(sample.weight, values)
    means = {term: (total / sums["weight"]).reshape(-1, total.shape[-1]) for term, total in sums.items()}
    table = effect_table(means["effect"], np.sqrt(means["square"]), what.delta)
    table["p_value"] = bulk_p_values(table["size"].to_numpy())
    others = [x for s, x in observations.x.items() if s not in design.blocks[block]]
    observed = (
        observations.x[source][rows[source]],
        np.concatenate([x[spread_rows(len(x), what.cells)] for x in others]),
    )
    return _finished(model, table, name, what.delta, scale, (means["first"], means["second"]), observed)


def _group_table(model: Queries, what: Comparison, per_member: int) -> pd.DataFrame:
    """Each group against the rest, or against one other group."""
    assert what.groupby is not None
    observations, groups = model.observations, _groups(model, what.groupby)
    names = _names("groupby", None, np.concatenate(list(groups.values())))
    firsts = _names("group1", what.group1, np.array(names))
    if what.group2 is not None:
        (second,) = _names("group2", what.group2, np.array(names))
        firsts = [name for name in firsts if name != second]
        names = [name for name in names if name in (*firsts, second)]
    if len(names) < 2 or not firsts:
        raise bad_input("groupby", what.groupby, names, "two groups of cells or more")
    index = {
        s: np.array([names.index(name) if name in names else -1 for name in group])
        for s, group in groups.items()
    }
    every = np.concatenate(list(index.values()))
    sizes = np.bincount(every[every >= 0], minlength=len(names))
    rows = {s: _spread(own, sizes, what.cells) for s, own in index.items()}
    rows = {s: own for s, own in rows.items() if len(own)}
    scale = Scale.of(model, rows)
    n, d = len(names), len(observations.features)
    members = len(model.ensemble.members())
    weight, total = np.zeros((per_member, members, n, 1)), np.zeros((per_member, members, n, d))
    count = np.zeros((len(rows), n))
    level, square = np.zeros((2, len(rows), n, d))
    mean = np.zeros(0)
    for sample in decoded_samples(model, rows, per_member, what.seed):
        own = np.equal.outer(np.arange(n), index[sample.source][sample.rows])
        weights = sample.weight[:, None] * own
        weight[sample.number, ..., 0] += weights.sum(axis=-1)
        total[sample.number] += weights @ sample.value
        found = sample.value.mean(axis=0, dtype=np.float64) / per_member
        mean = found if sample.number == 0 else mean + found
        if sample.number == per_member - 1:
            # A row's own value in the test of labels is its mean over members and samples.
            stratum, values = list(rows).index(sample.source), scale.level(mean)
            count[stratum] += own.sum(axis=1)
            level[stratum] += own @ values
            square[stratum] += own @ values**2
    # Rows of large groups stand for more rows of the rest.
    share = (sizes / count.sum(axis=0))[:, None]
    weight, total = weight * share, total * share
    tables = []
    for name in firsts:
        first = np.array([other == name for other in names])
        against = REST if what.group2 is None else what.group2
        second = ~first if what.group2 is None else np.array([other == what.group2 for other in names])
        means = [
            (total[:, :, one].sum(axis=2) / weight[:, :, one].sum(axis=2)).reshape(-1, d)
            for one in (first, second)
        ]
        effect = scale.level(means[0]) - scale.level(means[1])
        table = effect_table(effect, np.abs(effect), what.delta)
        both = first | second
        table["p_value"] = label_p_values(count[:, both], level[:, both], square[:, both], first[both])
        chosen = [
            np.concatenate([observations.x[s][own[one[index[s][own]]]] for s, own in rows.items()])
            for one in (first, second)
        ]
        title = f"{name} vs {against}"
        tables.append(
            _finished(model, table, title, what.delta, scale, (means[0], means[1]), (chosen[0], chosen[1]))
        )
    return pd.concat(tables, ignore_index=True)


def _finished(
    model: Queries,
    table: pd.DataFrame,
    name: str,
    delta: float,
    scale: Scale,
    decoded: tuple[np.ndarray, np.ndarray],
    observed: tuple[np.ndarray, np.ndarray],
) -> pd.DataFrame:
    """The table in the units of the data, with names and observed means, surest effects first."""
    kind = "lfc" if scale.counts else "difference"
    effects = ["mean", "median", "std", "low", "high"]
    unit = 1.0 if model.scaling.scale is None else model.scaling.scale
    table[[*effects, "size"]] = table[[*effects, "size"]].mul(unit, axis=0)
    table = table.rename(columns={effect: f"{kind}_{effect}" for effect in effects})
    table.insert(0, "gene", model.observations.features)
    table.insert(1, "comparison", name)
    from scipy.stats import false_discovery_control  # half a second, which no other query has to wait for

    known = table["p_value"].notna().all()
    table["q_value"] = false_discovery_control(table["p_value"]) if known else np.nan
    table["delta"] = delta * unit
    if scale.counts:
        table["pseudocount"] = scale.pseudocount
        table["scale1"], table["scale2"] = (values.mean(axis=0) for values in decoded)
    table["raw_mean1"], table["raw_mean2"] = (x.mean(axis=0, dtype=np.float64) for x in observed)
    if scale.counts:
        for i, x in enumerate(observed, start=1):
            table[f"non_zeros_proportion{i}"] = (x > 0).mean(axis=0)
    order = np.lexsort((-table["size"] / unit, -table["proba_de"]))
    return table.iloc[order].reset_index(drop=True)


def _weighted(weight: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Sum over rows of values (E, B, D) with weights (E, B); (E, D)."""
    return (weight[:, None] @ values)[:, 0]


def _groups(model: Queries, groupby: str) -> Mapping[str, np.ndarray]:
    """Group of each row of each source, "" where it has none."""
    observations = model.observations
    if observations.adata is not None:
        whole = text_columns(observations.adata, {"groupby": groupby})["groupby"].to_numpy(dtype=str)
    else:
        columns = {"source": observations.source, "label": observations.label}
        columns = {name: column for name, column in columns.items() if column is not None}
        if groupby not in columns:
            raise bad_input("groupby", "", groupby, f"one of {list(columns)}, for a model of arrays")
        whole = np.asarray(columns[groupby], dtype=str)
    return {source: whole[rows] for source, rows in observations.rows.items()}


def _names(argument: str, given: Any, group: np.ndarray) -> list[str]:
    """Names of groups, all of them for None; refused if a row of none is there."""
    there = sorted(set(group.tolist()) - {""})
    if given is None:
        return there
    names = [given] if isinstance(given, str) or not isinstance(given, Sequence) else list(given)
    for name in names:
        if str(name) not in there:
            raise bad_input(argument, "", name, f"one of the groups {there}")
    return list(dict.fromkeys(map(str, names)))


def _spread(group: np.ndarray, sizes: np.ndarray, cells: int) -> np.ndarray:
    """Rows of a source in any group, at most about ``cells`` of each over all sources, evenly spread."""
    chosen = []
    for one, size in enumerate(sizes):
        own = np.flatnonzero(group == one)
        most = len(own) if size <= cells else -(-len(own) * cells // size)
        chosen.append(own[spread_rows(len(own), int(most))] if len(own) else own)
    return np.sort(np.concatenate(chosen))
