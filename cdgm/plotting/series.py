"""Series of panels: a block on a source, against a truth, in a colour."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import pandas as pd

from cdgm.evaluation.table_slices import Tables, main_source, order_of, pick, rows_of
from cdgm.plotting.theme import BLOCK_COLOURS, SOURCE_COLOURS, Look, colours


class Series(NamedTuple):
    """Rows of a table that are drawn in one look: those whose columns equal ``where``."""

    where: Mapping[str, Any]
    look: Look


def colours_of(tables: Tables, study: str) -> tuple[dict[str, str], dict[str, str]]:
    """Colours of a study's sources and of its blocks, the same in every figure."""
    sources, blocks = order_of(tables, study)
    return colours(sources, SOURCE_COLOURS), colours(blocks, BLOCK_COLOURS)


def private_blocks(tables: Tables, study: str) -> list[str]:
    """Blocks that some source of the study lacks, in the order of :func:`order_of`."""
    scores = rows_of(tables, "scores", study)
    kl = pick(scores, metric="kl")
    placed = kl if len(kl) else scores[(scores["block"] != "") & (scores["source"] != "")]
    sources, blocks = order_of(tables, study)
    return [b for b in blocks if placed.loc[placed["block"] == b, "source"].nunique() < len(sources)]


def scored_on(scores: pd.DataFrame, metric: str, blocks: Iterable[str]) -> list[tuple[str, str, str]]:
    """(source, block, truth) of a metric: each block on the source where most blocks are active."""
    rows = pick(scores, metric=metric, twist=0.0)
    found = []
    for block in blocks:
        source = main_source(rows, block)
        mine = pick(rows, block=block, source=source)
        found += [(source, block, truth) for truth in dict.fromkeys(mine["truth"])]
    return found


def block_series(scores: pd.DataFrame, metric: str, blocks: Mapping[str, str]) -> list[Series]:
    """A series for each place at which blocks are scored (:func:`scored_on`), in the block's colour."""
    return [
        Series({"source": source, "block": block, "truth": truth}, Look(blocks[block]))
        for source, block, truth in scored_on(scores, metric, blocks)
    ]


def series_of(
    tables: Tables, study: str, scores: pd.DataFrame, metrics: Iterable[str]
) -> dict[str, list[Series]]:
    """Series of each panel of a study of penalties or constraints, by metric, without empty panels.

    ``kl`` is of private blocks, ``active_dims`` of all blocks, ``elbo_difference`` of sources, any other
    metric as :func:`block_series`.
    """
    sources, blocks = colours_of(tables, study)
    found: dict[str, list[Series]] = {}
    for metric in metrics:
        rows = pick(scores, metric=metric)
        if metric == "elbo_difference":
            there = [s for s in sources if (rows["source"] == s).any()]
            series = [Series({"source": s, "block": "", "truth": ""}, Look(sources[s])) for s in there]
        elif metric in ("kl", "active_dims"):
            own = private_blocks(tables, study) if metric == "kl" else blocks
            series = [
                Series({"source": main_source(rows, b), "block": b, "truth": ""}, Look(blocks[b]))
                for b in own
                if (rows["block"] == b).any()
            ]
        else:
            series = block_series(scores, metric, blocks)
        if series:
            found[metric] = series
    return found
