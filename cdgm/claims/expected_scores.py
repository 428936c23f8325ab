"""Predict the scores in the table of a study from its config. Pure functions."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from cdgm.config.claim import Selector
from cdgm.config.design import Design
from cdgm.config.evaluation import TwistScoring
from cdgm.config.layers import merge
from cdgm.config.study import Config, Study
from cdgm.evaluation.catalogue import BASELINES, DOSE, OF_PREDICTIONS, dose_metrics, metrics_of
from cdgm.utils.joint_names import JOINT
from cdgm.workflow.plan import settings_of


class Score(NamedTuple):
    """A score of each seed: its place in a study's table.

    ``certain`` is false for scores that depend on more than the config says: labels of cells, for instance.
    """

    setting: str
    variant: str
    point: str
    source: str
    block: str
    truth: str
    twist: float
    metric: str
    certain: bool = True


COLUMNS = tuple(name for name in Score._fields if name != "certain")


def scores_of(config: Config, study: Study) -> list[Score]:
    """All scores that the table of a study will have."""
    found: list[Score] = []
    for setting, overrides in settings_of(study):
        found += _of_setting(config, study, setting, overrides)
    return found


def matching(selector: Selector, scores: Sequence[Score]) -> tuple[Sequence[Score], str]:
    """The scores that a selector picks, and an empty text.

    If there are none: those that are left by the columns before the first whose value no score has, and
    this column.
    """
    for column in COLUMNS:
        wanted = selector.given.get(column)
        if wanted is not None:
            found = [score for score in scores if getattr(score, column) == wanted]
            if not found:
                return scores, column
            scores = found
    return scores, ""


def _of_setting(config: Config, study: Study, setting: str, overrides: Mapping[str, Any]) -> Iterator[Score]:
    template = merge(config.protocols[study.protocol], overrides)
    design = config.designs[template["design"]]
    evaluation = template["evaluation"]
    simulated = template.get("simulation") is not None
    twist = evaluation.get("twist") and TwistScoring.model_validate(evaluation["twist"])
    for variant in study.variants:
        spec = config.variants[variant]
        rows = [*_of_any(design), *(_of_truths(design, twist) if simulated else _of_cells(design))]
        if not simulated:
            kinds = config.datasets[template["dataset"]].covariates
            batches = [name for name, kind in kinds.items() if kind == "categorical"]
            places = itertools.product(design.sources, design.blocks, batches, metrics_of("batches"))
            rows += [(source, block, name, 0.0, metric, False) for source, block, name, metric in places]
        if not simulated and config.datasets[template["dataset"]].doses is not None:
            _, target, _ = design.contrast()
            for block in design.active(target):
                private = len(design.blocks[block]) < len(design.sources)
                rows += [(target, block, DOSE, 0.0, metric, True) for metric in dose_metrics(private)]
        held = [constraint.name for constraint in spec.constraints if constraint.can_assess]
        rows += [("", name, "", 0.0, metric, True) for name in held for metric in metrics_of("constraint")]
        for constraint in spec.constraints:
            rows += [("", constraint.name, "", 0.0, metric, True) for metric in metrics_of("multiplier")]
        if simulated and any(design.comparisons(block) for block in design.blocks):
            rows += [("", "", "", 0.0, metric, True) for metric in metrics_of("moved dimensions")]
        if study.regret is not None and variant != study.regret.reference:
            rows += [(source, "", "", 0.0, "regret", True) for source in design.sources]
            rows.append(("", "", "", 0.0, "regret_worst", True))
            if study.regret.front:
                rows.append(("", "", "", 0.0, "front_gain", True))
        if spec.procedure is not None:
            rows += [("", "", "", 0.0, metric, True) for metric in metrics_of("procedure")]
            pruned = [block for block in design.blocks if design.comparisons(block)]
            for block in pruned if spec.procedure.kind == "prune" else ():
                rows += [("", block, "", 0.0, metric, True) for metric in metrics_of("pruned block")]
        for point, _ in spec.points():
            yield from (Score(setting, variant, point, *row) for row in rows)
    if simulated and evaluation.get("ceiling") is not None:
        for row in _of_truths(design, None):
            yield Score(setting, "ceiling", "", *row)
        for source, metric in itertools.product(design.sources, metrics_of("true model")):
            yield Score(setting, "ceiling", "", source, "", "", 0.0, metric)
    if not simulated:
        block, foreground, _ = design.contrast()
        for variant in BASELINES:
            if variant == "oracle":
                for metric in OF_PREDICTIONS:
                    yield Score(setting, variant, "", foreground, block, "label", 0.0, metric, False)
            elif variant != "ceiling":
                for row in _of_cells(design, (block,)):
                    if row[4] != "active_dims":
                        yield Score(setting, variant, "", *row)


Row = tuple[str, str, str, float, str, bool]


def _of_any(design: Design) -> Iterator[Row]:
    """Bounds, learned noise and asymmetry of axes; as in :mod:`cdgm.evaluation.fits`."""
    for source in design.sources:
        yield source, "", "", 0.0, "elbo", True
        for block in design.active(source):
            yield source, block, "", 0.0, "kl", True
    for block in design.blocks:
        for pair in design.comparisons(block):
            yield JOINT.join(pair), block, "", 0.0, "axis_asymmetry", True
    for metric in metrics_of("fit"):
        yield "", "", "", 0.0, metric, False


def _of_truths(design: Design, twist: TwistScoring | None) -> Iterator[Row]:
    """Scores against the truth of a simulation; as :mod:`cdgm.evaluation.metrics.truth_scores`."""
    for source in design.sources:
        blocks = design.active(source)
        angles = [0.0]
        if twist is not None and {twist.block, twist.by} <= set(blocks):
            angles += [angle for angle in twist.angles if angle != 0]
        for block in blocks:
            for metric in metrics_of("size of block"):
                yield source, block, "", 0.0, metric, True
            for truth, angle in itertools.product(blocks, angles):
                for metric in metrics_of("own truth" if block == truth else "other truth"):
                    yield source, block, truth, angle, metric, True
        if len(blocks) > 1:
            for truth, angle in itertools.product(blocks, angles):
                yield source, JOINT.join(blocks), truth, angle, "entanglement_r2", True
        pairs = [JOINT.join(pair) for pair in itertools.combinations(blocks, 2)]
        for pair, metric in itertools.product(pairs, metrics_of("pair of blocks")):
            yield source, pair, "", 0.0, metric, True


def _of_cells(design: Design, blocks: Sequence[str] | None = None) -> Iterator[Row]:
    """Scores of latent spaces of cells; as :mod:`cdgm.evaluation.metrics.latent_space_scores`."""
    for block in design.blocks if blocks is None else blocks:
        for source in design.sources:
            yield source, block, "", 0.0, "active_dims", True
            for metric in metrics_of("labels"):
                yield source, block, "label", 0.0, metric, False
            for metric in metrics_of("source in block"):
                yield source, block, "", 0.0, metric, metric == "source_mixing"
        for metric in metrics_of("sources in block"):
            yield JOINT.join(sorted(design.sources)), block, "", 0.0, metric, True
