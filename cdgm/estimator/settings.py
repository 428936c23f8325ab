"""From a few arguments to the full specification of a fit, with one-line errors that name the argument."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from numbers import Integral
from typing import Any

from cdgm.config.design import Design
from cdgm.config.fit import FitSpec, ModelSpec, VariantSpec
from cdgm.config.layers import merge
from cdgm.config.validation import validated
from cdgm.estimator.defaults import defaults, variant_names
from cdgm.models.likelihoods import LIKELIHOODS
from cdgm.utils.errors import UserError, bad_input

#: Rows from which on a hidden layer in the decoder, larger batches and smaller steps pay.
MANY = 5_000
#: Distinguishes fits of own data from those of the project's studies in all random streams.
DATASET, ROOT_SEED = "own data", 0
ARRAYS, CELLS = "arrays", "cells"


def variant(value: str | Mapping[str, Any]) -> VariantSpec:
    """A variant by its name, or by its parts as ``config.yaml`` writes them.

    Raises
    ------
    UserError
        If there is no such variant, or its parts are wrong or hold lists of values to sweep.
    """
    if isinstance(value, str):
        if value not in defaults()["variants"]:
            near = difflib.get_close_matches(value, variant_names(), 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise UserError(f"variant: got {value!r}, expected one of {', '.join(variant_names())}{hint}")
        value = defaults()["variants"][value]
    spec = validated(VariantSpec, dict(value), "variant")
    if len(spec.points()) > 1:
        raise UserError("variant: a list of values is swept by the workflow only; give one value")
    return spec


def likelihood(value: str | Mapping[str, Any]) -> Any:
    """A likelihood by its name or by its parts; counts by name are those of cells (totals are known)."""
    if isinstance(value, str):
        named = {
            "negative_binomial": {"link": "softmax", "dispersion": "learned"},
            "poisson": {"link": "softmax"},
        }
        value = {"kind": value} | named.get(value, {})
    return validated(LIKELIHOODS.parse, dict(value), "likelihood")


def model_spec(
    base: Mapping[str, Any], design: Design, dims: Mapping[str, int], law: Any, changes: Mapping[str, Any]
) -> ModelSpec:
    """Architecture: that of a protocol, with this design and these changes."""
    for block, size in dims.items():
        if isinstance(size, bool) or not isinstance(size, Integral) or size < 1:
            raise bad_input("dimensions", block, size, "a whole number of at least 1")
    values = merge(
        base["model"],
        {
            "design": design.model_dump(mode="json"),
            "likelihood": law.model_dump(mode="json", exclude_defaults=True) | {"kind": law.kind},
            **changes,
        },
    )
    return validated(
        ModelSpec, values | {"dims": {block: int(size) for block, size in dims.items()}}, "model"
    )


def base_for(kind: str, rows: int) -> dict[str, Any]:
    """Settings that the project's own studies use on data like these."""
    if kind == CELLS and rows >= MANY:
        kind = "many_cells"
    return defaults()[kind]


def steps_of(max_steps: int | None, max_epochs: float | None, rows: int, batch_size: int, usual: int) -> int:
    """Number of steps from whichever is given; an epoch sees each row of the largest source once."""
    if max_steps is not None and max_epochs is not None:
        raise UserError("train: got max_steps and max_epochs, expected one of them")
    if max_epochs is not None:
        if not max_epochs > 0:
            raise bad_input("train", "max_epochs", max_epochs, "a number above 0")
        return max(1, math.ceil(max_epochs * rows / batch_size))
    steps = usual if max_steps is None else max_steps
    if isinstance(steps, bool) or not isinstance(steps, Integral) or steps < 1:
        raise bad_input("train", "max_steps", steps, "a whole number of at least 1")
    return int(steps)


def fit_spec(
    model: ModelSpec, spec: VariantSpec, training: Mapping[str, Any], seeds: tuple[int, ...]
) -> FitSpec:
    """The whole specification."""
    values = {
        "dataset": DATASET,
        "model": model.model_dump(mode="json"),
        "variant": spec.model_dump(mode="json"),
        "training": dict(training),
        "seeds": seeds,
        "root_seed": ROOT_SEED,
    }
    return validated(FitSpec, values, "fit")
