"""From arguments to the full specification of a fit, with one-line errors that name the argument."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any, get_args

from cdgm.config.design import Design
from cdgm.config.fit import FitSpec, VariantSpec
from cdgm.config.layers import merge
from cdgm.config.model import ModelSpec
from cdgm.config.training import TrainingSpec
from cdgm.config.validation import validated
from cdgm.config.value_support import Support
from cdgm.estimator.defaults import defaults, variant_names
from cdgm.models.likelihoods import LIKELIHOODS
from cdgm.utils.errors import UserError, bad_input

#: Number of training rows from which a hidden layer in the decoder, larger batches and smaller steps pay.
MANY = 5_000
#: Name of the data in all random streams, which sets these fits apart from those of the project's studies.
DATASET, ROOT_SEED = "own data", 0
#: Largest sizes: more dimensions, members or steps are slips of the keyboard, and would take years.
MOST_DIMENSIONS, MOST_MEMBERS, MOST_STEPS, LARGEST_SEED = 1_000, 1_000, 10_000_000, 2**32 - 1
MOST_DRAWS, MOST_STARTS = 100_000, 100
#: Parts of a model that have an argument of their own, by which they are checked against the data.
OWN_ARGUMENTS = {
    "likelihood": "likelihood=",
    "design": "design=",
    "dims": "n_background=, n_salient= or dims=",
    "covariates": "batch_key= or another key of setup_anndata",
}
#: Likelihoods by name: those of counts know the total of each cell.
LIKELIHOOD_OPTIONS = {
    "negative_binomial": {"link": "softmax", "dispersion": "learned"},
    "poisson": {"link": "softmax"},
}


def parse_variant(value: str | Mapping[str, Any]) -> VariantSpec:
    """Parse a variant: a name, or a mapping as in ``config.yaml``.

    Raises
    ------
    UserError
        If there is no such variant, or the mapping is wrong or holds lists of values to sweep.
    """
    if isinstance(value, str):
        if value not in defaults()["variants"]:
            near = difflib.get_close_matches(value, variant_names(), 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise UserError(f"variant: got {value!r}, expected one of {', '.join(variant_names())}{hint}")
        mapping = defaults()["variants"][value]
    else:
        mapping = value
    spec = validated(VariantSpec, as_mapping("variant", mapping, "a name or a mapping"), "variant")
    if len(spec.points()) > 1:
        raise UserError("variant: a list of values is swept by the workflow only; give one value")
    if spec.procedure is not None:
        kind = spec.procedure.kind
        raise bad_input("variant", "procedure", kind, "none: see train(n_starts=) and cdgm.prune_dimensions")
    return spec


def within_batches(variant: VariantSpec, kinds: Mapping[str, str]) -> VariantSpec:
    """The variant with its penalties within the batch.

    Parameters
    ----------
    variant
        The variant.
    kinds
        Kind of each covariate, by name.

    Raises
    ------
    UserError
        If no covariate has categories, or no penalty can be within them.
    """
    if "categorical" not in kinds.values():
        raise bad_input("within_batches", "", True, "a model that is told of batches: see batch_key")
    try:
        return variant.within_covariates()
    except ValueError as error:
        raise UserError(f"within_batches: the variant has {error}") from None


def parse_likelihood(value: str | Mapping[str, Any]) -> Any:
    """Parse a likelihood: a name, or a mapping as in ``config.yaml``."""
    if isinstance(value, str):
        value = {"kind": value} | LIKELIHOOD_OPTIONS.get(value, {})
    return validated(LIKELIHOODS.parse, as_mapping("likelihood", value, "a name or a mapping"), "likelihood")


def protocol(support: Support, rows: int) -> dict[str, Any]:
    """Settings that the project's own studies use on data with this support and number of training rows."""
    if support != "counts":
        return defaults()["arrays"]
    return defaults()["many_cells" if rows >= MANY else "cells"]


def model_spec(
    base: Mapping[str, Any],
    design: Design,
    dims: Mapping[str, int],
    likelihood: Any,
    changes: Mapping[str, Any],
    covariates: Sequence[str] = (),
) -> ModelSpec:
    """Architecture of a :func:`protocol` with this design, these dimensions, changes and covariates."""
    for block, size in dims.items():
        whole_number("dims", block, size, 1, MOST_DIMENSIONS)
    changes = as_mapping("model", changes, "a mapping of changes, as in config.yaml")
    for key, argument in OWN_ARGUMENTS.items():
        if key in changes:
            raise bad_input("model", str(key), changes[key], f"the argument {argument} for it")
    own = {
        "design": design.model_dump(mode="json"),
        "likelihood": likelihood.model_dump(mode="json", exclude_defaults=True),
    } | ({"covariates": list(covariates)} if covariates else {})
    values = merge(base["model"], own | changes)
    return validated(ModelSpec, values | {"dims": {b: int(size) for b, size in dims.items()}}, "model")


def training_values(
    base: Mapping[str, Any],
    rows: list[int],
    max_steps: int | None,
    max_epochs: float | None,
    batch_size: int | None,
    learning_rate: float | None,
    device: str = "cpu",
    weight_decay: float | None = None,
) -> dict[str, Any]:
    """Settings of a training: those of a :func:`protocol`, with the arguments that are given.

    Parameters
    ----------
    base
        The protocol.
    rows
        Training rows of each source. A batch holds no more than the fewest, unless ``batch_size`` is given;
        an epoch is a pass over the most.
    max_steps, max_epochs, batch_size, learning_rate, device, weight_decay
        As in ``ComparativeModel.train``.
    """
    devices = get_args(TrainingSpec.model_fields["device"].annotation)
    if device not in devices:
        raise bad_input("train", "device", device, f"one of {', '.join(devices)}")
    training = base["training"] | {"device": device}
    if batch_size is None:
        training["batch_size"] = min(training["batch_size"], min(rows))
    else:
        # More would repeat rows within a batch.
        training["batch_size"] = whole_number(
            "train", "batch_size", batch_size, 2, min(rows), "training rows"
        )
    if learning_rate is not None:
        training["learning_rate"] = learning_rate
    if weight_decay is not None:
        training["optimiser"] = training["optimiser"] | {"weight_decay": weight_decay}
    if max_steps is not None and max_epochs is not None:
        raise UserError("train: got max_steps and max_epochs, expected one of them")
    if max_epochs is not None:
        steps_an_epoch = max(rows) / training["batch_size"]
        most = MOST_STEPS / steps_an_epoch
        number = isinstance(max_epochs, Real) and not isinstance(max_epochs, bool)
        if not number or not 0 < max_epochs <= most:
            expected = f"a number above 0, at most {most:.4g}, which are {MOST_STEPS:,} steps"
            raise bad_input("train", "max_epochs", max_epochs, expected)
        max_steps = max(1, math.ceil(max_epochs * steps_an_epoch))
    if max_steps is not None:
        training["steps"] = whole_number("train", "max_steps", max_steps, 1, MOST_STEPS)
    training["log_every"] = max(1, min(training["log_every"], training["steps"] // 20))
    return training


def fit_spec(
    model: ModelSpec, variant: VariantSpec, training: Mapping[str, Any], seeds: tuple[int, ...]
) -> FitSpec:
    """Full specification of a fit."""
    values = {
        "dataset": DATASET,
        "model": model.model_dump(mode="json"),
        "variant": variant.over(training["steps"]).model_dump(mode="json"),
        "training": dict(training),
        "seeds": seeds,
        "root_seed": ROOT_SEED,
    }
    return validated(FitSpec, values, "fit")


def whole_number(where: str, key: str, value: Any, least: int, most: int, of: str = "") -> int:
    """Refuse what is not a whole number from ``least`` to ``most``, the number ``of`` something."""
    if isinstance(value, bool) or not isinstance(value, Integral) or not least <= int(value) <= most:
        reason = f", the number of {of}" if of else ""
        raise bad_input(where, key, value, f"a whole number of at least {least} and at most {most:,}{reason}")
    return int(value)


def as_mapping(where: str, value: Any, expected: str) -> dict[str, Any]:
    """Refuse what is not a mapping."""
    if not isinstance(value, Mapping):
        raise bad_input(where, "", value, expected)
    return dict(value)
