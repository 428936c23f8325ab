"""Refuse studies whose parts do not suit each other, before anything is computed. Pure functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from cdgm.config.fit import VariantSpec
from cdgm.config.model import ModelSpec
from cdgm.config.simulation import Simulation
from cdgm.config.study import Config, Study, Template
from cdgm.utils.errors import UserError, bad_input
from cdgm.utils.registry import registry_at

Where = Callable[[Sequence[Any]], str]
#: Needs of figures in words.
WORDS = {
    "cells": "a study of cells",
    "truths": "a study of simulations",
    "twist": "a setting with evaluation.twist",
    "constraints": "a variant with constraints",
    "single trainings": "variants without a procedure",
}


def check_setting(
    config: Config,
    template: Template,
    model: ModelSpec,
    simulation: Simulation | None,
    where: Where,
) -> None:
    """Refuse a twist, a data set or a batch that does not suit a merged setting.

    Parameters
    ----------
    config
        The whole config.
    template, model, simulation
        The setting, and its parts.
    where
        Maps the path of a key of the setting to its place.

    Raises
    ------
    UserError
        Naming file, key, value and what was expected.
    """
    design = model.design
    if (twist := template.evaluation.twist) is not None:
        path = ("evaluation", "twist")
        if simulation is None:
            raise bad_input(
                where(path), ".".join(path), "a mapping", "none: cells have no truth to be twisted"
            )
        try:
            design.check_twist(twist.block, twist.by, simulation.dims, "it")
        except ValueError as error:
            raise UserError(f"{where(path)}: {'.'.join(path)}: {error}") from None
    known = config.datasets[template.dataset].covariates if template.dataset is not None else {}
    for i, name in enumerate(model.covariates):
        if name not in known:
            path = ("model", "covariates", i)
            expected = f"one of the covariates of datasets.{template.dataset}: {list(known)}"
            if template.dataset is None:
                expected = "none: simulations have no covariates"
            raise bad_input(where(path), ".".join(map(str, path)), name, expected)
    if simulation is None:
        _check_cells(config, template, model, where)
    elif template.training.batch_size > min(simulation.n_train.values()):
        path, fewest = ("training", "batch_size"), min(simulation.n_train.values())
        expected = f"at most {fewest}, the fewest points that a source is trained on"
        raise bad_input(where(path), ".".join(path), template.training.batch_size, expected)


def _check_cells(config: Config, template: Template, model: ModelSpec, where: Where) -> None:
    sources = config.datasets[template.dataset or ""].sources
    if set(sources) != set(model.design.sources):
        expected = f"one with the sources of design {template.design!r}: {list(model.design.sources)}"
        raise bad_input(where(("dataset",)), "dataset", template.dataset, expected)


def check_study(config: Config, name: str, templates: Sequence[Template], where: Where) -> None:
    """Refuse variants that do not suit the design of a setting, and figures that have nothing to show.

    Parameters
    ----------
    config
        The whole config.
    name
        Name of the study.
    templates
        Its merged settings.
    where
        Maps the path of a key of the config to the file that sets it.

    Raises
    ------
    UserError
        Naming file, key, value and what was expected.
    """
    study: Study = config.studies[name]
    for i, variant in enumerate(study.variants):
        for design in dict.fromkeys(template.design for template in templates):
            # That there is such a design is checked with the setting.
            if design not in config.designs:
                continue
            try:
                config.variants[variant].check_design(config.designs[design])
            except ValueError as error:
                path = ("studies", name, "variants", i)
                expected = f"one that suits the design {design!r}: {error}"
                raise bad_input(where(path), ".".join(map(str, path)), variant, expected) from None
        for steps in dict.fromkeys(template.training.steps for template in templates):
            try:
                config.variants[variant].check_steps(steps)
            except ValueError as error:
                path = ("studies", name, "variants", i)
                expected = f"one that suits trainings of {steps} steps: {error}"
                raise bad_input(where(path), ".".join(map(str, path)), variant, expected) from None
    _check_regret(config, name, study, templates, where)
    there = {
        "cells": any(template.dataset is not None for template in templates),
        "truths": any(template.simulation is not None for template in templates),
        "twist": any(template.evaluation.twist is not None for template in templates),
        "constraints": any(config.variants[variant].constraints for variant in study.variants),
        "single trainings": all(config.variants[variant].procedure is None for variant in study.variants),
    }
    needs: Any = registry_at("cdgm.figures:NEEDS")
    for i, figure in enumerate(study.figures):
        for need in needs.get(figure, ()):
            if not there[need]:
                path = ("studies", name, "figures", i)
                expected = f"a figure that suits the study: this one needs {WORDS[need]}"
                raise bad_input(where(path), ".".join(map(str, path)), figure, expected)


def _check_regret(
    config: Config, name: str, study: Study, templates: Sequence[Template], where: Where
) -> None:
    """Refuse references that are not one fit to each source alone, and a front of other than two sources."""
    if study.regret is None:
        return
    reference, front = study.regret.reference, list(study.regret.front)
    places = _places(config.variants[reference])
    for design in dict.fromkeys(template.design for template in templates):
        # That there is such a design is checked with the setting.
        n = len(config.designs[design].sources) if design in config.designs else len(places)
        every = list(range(1, n + 1))
        if places != every:
            key = ("studies", name, "regret", "reference")
            expected = f"one with the combiner 'single' at the places {every} of design {design!r}"
            raise bad_input(where(key), ".".join(key), reference, expected)
        if front and n != 2:
            key = ("studies", name, "regret", "front")
            expected = f"none: a front is one of two sources, design {design!r} has {n}"
            raise bad_input(where(key), ".".join(key), front, expected)


def _places(variant: VariantSpec) -> list[int]:
    """Places of the sources that a variant fits alone; none unless its combiner is ``single``."""
    combiners: list[Any] = [point.combiner for _, point in variant.points()]
    return sorted(int(combiner.place) for combiner in combiners if combiner.kind == "single")
