"""Which scores a study will have, known from the config alone, and whether claims name some of them.

So that a misspelt name in a claim is told when the workflow starts, and not when everything is computed.
Pure functions.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from cdgm.config.claim import AnyOf, Claim, Selector
from cdgm.config.design import Design
from cdgm.config.evaluation import TwistScoring
from cdgm.config.layers import load_layers, merge, read_yaml
from cdgm.config.study import Config, Study, parse_config
from cdgm.utils.errors import UserError, bad_input
from cdgm.utils.joint_names import JOINT
from cdgm.workflow.plan import settings_of

OF_OWN_TRUTH = (
    "recovery_cc",
    "recovery_r2",
    "recovery_r2_nonlinear",
    "mcc",
    "alignment_min",
    "alignment_max",
)
OF_OTHER_TRUTH = ("leakage_cc", "leakage_cc_max", "leakage_cc_excess", "leakage_r2", "leakage_r2_nonlinear")
OF_PAIRS = ("hsic", "hsic_p", "hsic_biased")
OF_CONSTRAINTS = tuple(
    f"constraint_{what}{ending}" for what in ("value", "level") for ending in ("", "_train")
)
OF_NOISE = ("noise_sd", "dispersion_median")
OF_CEILINGS = ("effective_draws", "effective_draws_low")
OF_LABELS = ("knn_accuracy", "nmi", "ari", "silhouette", "source_mixing_strongest")
OF_MIXING = ("source_mixing", "source_mixing_within")
OF_ORACLE = ("knn_accuracy", "nmi", "ari")


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


def check_claims(config: Config, files: Sequence[str | Path]) -> None:
    """Refuse claims whose selectors pick no score, or more than one, in the config that states them.

    A claim is held against the layers up to the one that states it: an overlay on top may leave out what
    the claim is about, and it is then not run.

    Raises
    ------
    UserError
        Naming file, key, value and what was expected.
    """
    stated = [_claims_in(file) for file in files]
    layers: dict[int, dict[str, Claim]] = {}
    for name, claim in config.claims.items():
        if claim is not None:
            at = max((i for i, names in enumerate(stated) if name in names), default=len(files) - 1)
            layers.setdefault(at, {})[name] = claim
    for at, claims in layers.items():
        below = files[: at + 1]
        config_below = config if len(below) == len(files) else parse_config(load_layers(below, {}), below)
        named = {claim.study for claim in claims.values()}
        scores = {study: scores_of(config_below, config_below.studies[study]) for study in named}
        for name, claim in claims.items():
            for path, selector in _selectors(claim):
                key = ".".join(["claims", name, *map(str, path)])
                _check(selector, scores[claim.study], str(files[at]), key, claim.study)


def pick(selector: Selector, scores: Sequence[Score]) -> tuple[Sequence[Score], str]:
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


def _claims_in(file: str | Path) -> Collection[str]:
    """Names of the claims that a config file states or changes."""
    layer = read_yaml(file)
    return (layer.get("claims") or {}) if isinstance(layer, Mapping) else {}


def _check(selector: Selector, scores: Sequence[Score], file: str, key: str, study: str) -> None:
    kept, missing = pick(selector, scores)
    if missing:
        there = sorted({getattr(score, missing) for score in kept})
        before = [c for c in COLUMNS[: COLUMNS.index(missing)] if c in selector.given]
        given = f" with {', '.join(f'{c}={selector.given[c]}' for c in before)}" if before else ""
        shown = f"{there[:12]}{' and more' if len(there) > 12 else ''}"
        expected = f"one of {shown}, as study {study!r} has them{given}"
        raise bad_input(file, f"{key}.{missing}", selector.given[missing], expected)
    kept = [score for score in kept if score.certain]
    if len(kept) > 1:
        values = {c: sorted({getattr(score, c) for score in kept})[:6] for c in COLUMNS}
        differ = {c: found for c, found in values.items() if len(found) > 1}
        raise UserError(
            f"{file}: {key}: {{{selector}}} picks {len(kept)} scores of a seed, expected one;"
            f" they differ in {differ}"
        )


def _selectors(claim: Claim) -> Iterator[tuple[tuple[str | int, ...], Selector]]:
    """Every selector of a claim, for every alternative, and the key that it stands under."""
    for i, clause in enumerate(claim.conditions):
        start = ("conditions", i)
        group = isinstance(clause, AnyOf)
        for j, condition in enumerate(clause.conditions if group else [clause]):
            path = (*start, "conditions", j) if group else start
            if group:
                for place in clause.any_of:
                    yield (*path, "of"), condition.of.at(place)
            else:
                yield (*path, "of"), condition.of
            if condition.minus is not None:
                yield (*path, "minus"), condition.minus
            if condition.over is not None:
                yield (*path, "over"), condition.over


def _of_setting(config: Config, study: Study, setting: str, overrides: Mapping[str, Any]) -> Iterator[Score]:
    template = merge(config.protocols[study.protocol], overrides)
    design = config.designs[template["design"]]
    evaluation = template["evaluation"]
    simulated = template.get("simulation") is not None
    twist = evaluation.get("twist") and TwistScoring.model_validate(evaluation["twist"])
    for variant in study.variants:
        spec = config.variants[variant]
        rows = [*_of_any(design), *(_of_truths(design, twist) if simulated else _of_cells(design))]
        held = [constraint.name for constraint in spec.constraints if constraint.can_assess]
        rows += [("", name, "", 0.0, metric, True) for name in held for metric in OF_CONSTRAINTS]
        for point, _ in spec.points():
            yield from (Score(setting, variant, point, *row) for row in rows)
    if simulated and evaluation.get("ceiling") is not None:
        for row in _of_truths(design, None):
            yield Score(setting, "ceiling", "", *row)
        for source, metric in itertools.product(design.sources, OF_CEILINGS):
            yield Score(setting, "ceiling", "", source, "", "", 0.0, metric)
    if not simulated:
        block, foreground, _ = design.contrast()
        from cdgm.evaluation.table_slices import BASELINES  # loads pandas, which planning does without

        for variant in BASELINES:
            if variant == "oracle":
                for metric in OF_ORACLE:
                    yield Score(setting, variant, "", foreground, block, "label", 0.0, metric, False)
            elif variant != "ceiling":
                for row in _of_cells(design, (block,)):
                    if row[4] != "active_dims":
                        yield Score(setting, variant, "", *row)


Row = tuple[str, str, str, float, str, bool]


def _of_any(design: Design) -> Iterator[Row]:
    """Bounds and learned noise."""
    for source in design.sources:
        yield source, "", "", 0.0, "elbo", True
        for block in design.active(source):
            yield source, block, "", 0.0, "kl", True
    for metric in OF_NOISE:
        yield "", "", "", 0.0, metric, False


def _of_truths(design: Design, twist: TwistScoring | None) -> Iterator[Row]:
    """Scores against the truth of a simulation; as :mod:`cdgm.evaluation.metrics.simulation`."""
    for source in design.sources:
        blocks = design.active(source)
        angles = [0.0]
        if twist is not None and {twist.block, twist.by} <= set(blocks):
            angles += [angle for angle in twist.angles if angle != 0]
        for block in blocks:
            for metric in ("active_dims", "true_dims"):
                yield source, block, "", 0.0, metric, True
            for truth, angle in itertools.product(blocks, angles):
                for metric in OF_OWN_TRUTH if block == truth else OF_OTHER_TRUTH:
                    yield source, block, truth, angle, metric, True
        if len(blocks) > 1:
            for truth, angle in itertools.product(blocks, angles):
                yield source, JOINT.join(blocks), truth, angle, "entanglement_r2", True
        for pair, metric in itertools.product(itertools.combinations(blocks, 2), OF_PAIRS):
            yield source, JOINT.join(pair), "", 0.0, metric, True


def _of_cells(design: Design, blocks: Sequence[str] | None = None) -> Iterator[Row]:
    """Scores of latent spaces of cells; as :mod:`cdgm.evaluation.metrics.latent_space_scores`."""
    for block in design.blocks if blocks is None else blocks:
        for source in design.sources:
            yield source, block, "", 0.0, "active_dims", True
            for metric in OF_LABELS:
                yield source, block, "label", 0.0, metric, False
            for metric in OF_MIXING:
                yield source, block, "", 0.0, metric, metric == "source_mixing"
        yield JOINT.join(sorted(design.sources)), block, "", 0.0, "source_separation", True
