"""Expand the config into a flat, sorted table of jobs. Pure functions."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from pydantic import BaseModel

from cdgm.config.evaluation import CeilingSpec, EvaluationSpec
from cdgm.config.fit import FitSpec
from cdgm.config.layers import Layer, file_with, layer_name, merge, read_layer
from cdgm.config.model import ModelSpec
from cdgm.config.simulation import Simulation
from cdgm.config.study import Config, Study, Template
from cdgm.config.validation import validated
from cdgm.config.value_support import WORDS, holds
from cdgm.utils.errors import UserError, bad_input
from cdgm.utils.files import canonical_json
from cdgm.workflow.check_studies import check_setting, check_study


@dataclass(frozen=True)
class SimulationJob:
    """A simulated setting with its replicates."""

    spec: Simulation
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class FitJob:
    """A replicate stack and the data set that it is fitted to (a simulation's id or cells' name)."""

    spec: FitSpec
    simulated: bool


@dataclass(frozen=True)
class EvaluationJob:
    """A scoring of a fit."""

    fit: str
    spec: EvaluationSpec


@dataclass(frozen=True)
class CeilingJob:
    """A scoring of the true model of a simulation."""

    simulation: str
    spec: CeilingSpec
    null_draws: int


@dataclass(frozen=True)
class StudyRow:
    """One stack of a study: its setting and variant, and its ceiling if it has one."""

    setting: str
    variant: str
    dataset: str
    evaluation: str
    ceiling: str = ""


@dataclass
class Plan:
    """Everything that the config asks for; ids to jobs, sorted by id."""

    simulations: dict[str, SimulationJob] = field(default_factory=dict)
    fits: dict[str, FitJob] = field(default_factory=dict)
    evaluations: dict[str, EvaluationJob] = field(default_factory=dict)
    ceilings: dict[str, CeilingJob] = field(default_factory=dict)
    studies: dict[str, list[StudyRow]] = field(default_factory=dict)


def plan_rows(config: Config, plan: Plan, target: str) -> list[dict[str, Any]]:
    """Rows of ``results/plan.csv``: every stack of a target's studies, and its ids.

    ``data`` is the folder of the data set, ``members`` the fits of a stack: its seeds times swept values.
    """
    return [
        {
            "study": study,
            "setting": row.setting,
            "variant": row.variant,
            "seeds": " ".join(map(str, plan.fits[fit].spec.seeds)),
            "members": len(plan.fits[fit].spec.members),
            "data": f"{'simulations' if plan.fits[fit].simulated else 'data'}/{row.dataset}",
            "fit": fit,
            "evaluation": row.evaluation,
            "ceiling": row.ceiling,
        }
        for study, rows in plan.studies.items()
        if config.studies[study].target == target
        for row in rows
        for fit in [plan.evaluations[row.evaluation].fit]
    ]


def dump(spec: BaseModel) -> dict[str, Any]:
    """Return a spec as plain values without its defaults, so that a new option leaves old ids unchanged."""
    return spec.model_dump(mode="json", exclude_defaults=True)


def identify(slug: str, *parts: Any) -> str:
    """Return an id: a readable slug and 8 hexadecimal digits of the settings that it stands for."""
    return f"{slug}-{hashlib.sha256(canonical_json(list(parts)).encode()).hexdigest()[:8]}"


def expand(config: Config, files: Sequence[Layer] = ("config.yaml",)) -> Plan:
    """Return all jobs of a config.

    Raises
    ------
    UserError
        If a setting is not valid once its overrides are merged into its template.
    """
    plan = Plan()
    for name, study in config.studies.items():
        settings = []
        for setting, overrides in settings_of(study):
            where = _Place(name, setting, study.protocol, tuple(study.sweep), files)
            template = validated(Template, merge(config.protocols[study.protocol], overrides), where)
            settings.append((setting, template, where))
        check_study(config, name, [template for _, template, _ in settings], partial(file_with, layers=files))
        plan.studies[name] = [
            row
            for setting, template, where in settings
            for variant in study.variants
            for row in _expand_setting(plan, config, study, setting, variant, template, where)
        ]
    for group in ("simulations", "fits", "evaluations", "ceilings"):
        setattr(plan, group, dict(sorted(getattr(plan, group).items())))
    return plan


def settings_of(study: Study) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield names and overrides of a study's settings, each repeated over its sweep."""
    for name, overrides in study.settings.items():
        for values in itertools.product(*study.sweep.values()):
            swept = dict(overrides)
            for key, value in zip(study.sweep, values, strict=True):
                nested: Any = value
                for part in reversed(key.split(".")):
                    nested = {part: nested}
                swept = merge(swept, nested)
            label = ",".join(
                f"{key.split('.')[-1]}={value}" for key, value in zip(study.sweep, values, strict=True)
            )
            yield f"{name}@{label}" if label else name, swept


@dataclass(frozen=True)
class _Place:
    """The place of a mistake in a merged setting: its override, or the template below it."""

    study: str
    setting: str
    protocol: str
    sweep: tuple[str, ...]
    files: Sequence[Layer]

    def __call__(self, path: Sequence[Any]) -> str:
        for key in self.sweep:
            parts = key.split(".")
            if list(path[: len(parts)]) == parts:
                swept = ("studies", self.study, "sweep", key)
                return f"{file_with(swept, self.files)}: {'.'.join(swept)}"
        setting = self.setting.split("@")[0]
        inside = ("studies", self.study, "settings", setting, *path)
        for file in reversed(self.files):
            if file_with(inside, [file]) and _holds(file, inside):
                return f"{layer_name(file)}: studies.{self.study}.settings.{setting}"
        return f"{file_with(('protocols', self.protocol, *path), self.files)}: protocols.{self.protocol}"


def _holds(file: Layer, path: Sequence[Any]) -> bool:
    try:
        node = read_layer(file)
    except UserError:
        return False
    for part in path:
        # A list is set as a whole.
        if isinstance(node, list):
            return True
        if not isinstance(node, Mapping) or part not in node:
            return False
        node = node[part]
    return True


def _expand_setting(
    plan: Plan, config: Config, study: Study, setting: str, variant: str, template: Template, where: _Place
) -> Iterator[StudyRow]:
    if template.design not in config.designs:
        raise bad_input(where(("design",)), "design", template.design, f"one of {sorted(config.designs)}")
    design = dump(config.designs[template.design])
    model = validated(ModelSpec, template.model | {"design": design}, where, ("model",))
    simulation = None
    if template.simulation is not None:
        simulation = validated(Simulation, template.simulation | {"design": design}, where, ("simulation",))
    elif template.dataset not in config.datasets:
        raise bad_input(where(("dataset",)), "dataset", template.dataset, f"one of {sorted(config.datasets)}")
    _check_support(model, simulation, where)
    check_setting(config, template, model, simulation, where)
    # The true model has a job of its own, so asking for it leaves the scores of fits as they are.
    scoring = template.evaluation.model_copy(update={"ceiling": None})
    if template.evaluation.ceiling is not None:
        _check_ceiling(simulation, where)
    training = template.training
    if training.start is not None:
        start = training.start.of_setting(simulation)
        try:
            start.check(model)
        except ValueError as error:
            raise UserError(f"{where(('training', 'start'))}: training.start: {error}") from None
        training = training.model_copy(update={"start": start})
    if variant in study.learning_rates:
        training = training.model_copy(update={"learning_rate": study.learning_rates[variant]})
    seeds = study.seeds
    end = seeds.first + seeds.count
    for file_start in range(seeds.first, end, seeds.per_file):
        replicates = tuple(range(file_start, min(file_start + seeds.per_file, end)))
        if simulation is None:
            dataset = template.dataset or ""  # checked above
        else:
            dataset = identify(simulation.mixing.slug, dump(simulation), replicates, config.root_seed)
            plan.simulations[dataset] = SimulationJob(simulation, replicates)
        ceiling = ""
        if template.evaluation.ceiling is not None:
            job = CeilingJob(dataset, template.evaluation.ceiling, scoring.null_draws)
            slug, digits = dataset.rsplit("-", 1)
            ceiling = identify(slug, digits, dump(job.spec), job.null_draws)
            plan.ceilings[ceiling] = job
        for i in range(0, len(replicates), seeds.per_job):
            spec = FitSpec(
                dataset=dataset,
                model=model,
                variant=config.variants[variant].over(training.steps),
                training=training,
                seeds=replicates[i : i + seeds.per_job],
                root_seed=config.root_seed,
            )
            dims = "x".join(str(d) for d in model.dims.values())
            data_slug = dataset.rsplit("-", 1)[0] if simulation is not None else dataset
            fit = identify(f"{data_slug}-{variant}-{dims}-s{spec.seeds[0]}", dump(spec))
            plan.fits[fit] = FitJob(spec, simulated=simulation is not None)
            slug, digits = fit.rsplit("-", 1)
            evaluation = identify(slug, digits, dump(scoring))
            plan.evaluations[evaluation] = EvaluationJob(fit, scoring)
            yield StudyRow(setting, variant, dataset, evaluation, ceiling)


def _check_ceiling(simulation: Simulation | None, where: _Place) -> None:
    """Refuse a ceiling where no true model is known."""
    if simulation is None:
        place = where(("evaluation", "ceiling"))
        raise bad_input(place, "evaluation.ceiling", "a mapping", "none: cells have no known true model")


def _check_support(model: ModelSpec, simulation: Simulation | None, where: _Place) -> None:
    """Refuse a likelihood that gives data of this kind no probability, before anything is simulated."""
    # Cells are counts, whatever their reader.
    if simulation is None:
        made, support = "the data set of cells", "counts"
    else:
        made, support = f"noise {simulation.noise.kind!r}", simulation.noise.support
    if not holds(model.likelihood.support, support):
        raise bad_input(
            where(("model", "likelihood")),
            "model.likelihood",
            model.likelihood.kind,
            f"one for {WORDS[support]}, as {made} in studies.{where.study}.settings.{where.setting} gives",
        )
