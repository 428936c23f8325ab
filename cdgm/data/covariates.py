"""Covariates: what is known of each row beside its source, as the columns of numbers that a model takes.

A categorical covariate becomes one column a category (one-hot), a continuous one its value in standard
deviations of the training rows. The encoding belongs to a model: other rows are encoded as its own were.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from cdgm.config.dataset import CovariateKind
from cdgm.utils.errors import UserError, bad_input, shown
from cdgm.utils.registry import Strict

#: Categories of one covariate, at most: more are numbers, or names of cells.
MOST_CATEGORIES = 1_000
#: Standard deviation, as a share of the largest value, up to which a continuous covariate counts as constant.
CONSTANT = 1e-9


class Categorical(Strict):
    """A covariate with categories.

    Attributes
    ----------
    name
        Its name.
    categories
        Category of each column, sorted.
    """

    kind: Literal["categorical"] = "categorical"
    name: str
    categories: tuple[str, ...] = Field(min_length=1, max_length=MOST_CATEGORIES)

    @property
    def width(self) -> int:
        """Number of columns."""
        return len(self.categories)

    def columns(self, values: np.ndarray, where: str, rows: Sequence[str] | np.ndarray) -> np.ndarray:
        """Encode values; for the arguments see :func:`encode`."""
        known = np.array(self.categories)
        places = np.minimum(np.searchsorted(known, values), len(known) - 1)
        strange = np.flatnonzero(known[places] != values)
        if strange.size:
            expected = f"a known category: one of {shown(list(self.categories))}"
            raise _bad_row(self.name, values, where, rows, int(strange[0]), expected)
        return np.eye(len(known), dtype=np.float32)[places]


class Continuous(Strict):
    """A covariate of real numbers.

    Attributes
    ----------
    name
        Its name.
    mean, sd
        Mean and standard deviation of the training rows.
    """

    kind: Literal["continuous"] = "continuous"
    name: str
    mean: float
    sd: float = Field(gt=0)

    @property
    def width(self) -> int:
        """Number of columns."""
        return 1

    def columns(self, values: np.ndarray, where: str, rows: Sequence[str] | np.ndarray) -> np.ndarray:
        """Encode values; for the arguments see :func:`encode`."""
        numbers = _numbers(self.name, values, where, rows)
        return ((numbers - self.mean) / self.sd).astype(np.float32)[:, None]


Covariate = Annotated[Categorical | Continuous, Field(discriminator="kind")]


def learn(
    kinds: Mapping[str, CovariateKind],
    values: Mapping[str, np.ndarray],
    training: np.ndarray,
    where: str,
    rows: Sequence[str] | np.ndarray,
) -> tuple[Categorical | Continuous, ...]:
    """Return the encoding of covariates.

    Parameters
    ----------
    kinds
        Kind of each covariate, by name.
    values
        Values of each covariate in all rows as text (n,).
    training
        Whether a row is trained on (n,). Means and standard deviations are theirs; categories are those of
        all rows.
    where, rows
        As in :func:`encode`.

    Raises
    ------
    UserError
        If a row has no value, a value of a continuous covariate is no finite number, all of them are the
        same, or there are more than :data:`MOST_CATEGORIES` categories.
    """
    found: list[Categorical | Continuous] = []
    for name, kind in kinds.items():
        if kind == "continuous":
            numbers = _numbers(name, values[name], where, rows)[training]
            mean, sd = float(numbers.mean()), float(numbers.std())
            if not sd > CONSTANT * np.abs(numbers).max() or not math.isfinite(sd):
                expected = "numbers that differ between rows, of a size that can be squared"
                raise bad_input(f"{where}[{name!r}]", "", f"standard deviation {sd:g}", expected)
            found.append(Continuous(name=name, mean=mean, sd=sd))
            continue
        missing = np.flatnonzero(values[name] == "")
        if missing.size:
            raise _bad_row(name, values[name], where, rows, int(missing[0]), "a category in every row")
        categories = np.unique(values[name])
        if len(categories) > MOST_CATEGORIES:
            expected = f"at most {MOST_CATEGORIES:,}; is it continuous?"
            raise bad_input(f"{where}[{name!r}]", "", f"{len(categories):,} categories", expected)
        found.append(Categorical(name=name, categories=tuple(map(str, categories))))
    return tuple(found)


def encode(
    covariates: Sequence[Categorical | Continuous],
    values: Mapping[str, np.ndarray],
    where: str,
    rows: Sequence[str] | np.ndarray,
) -> np.ndarray:
    """Columns of covariates for some rows (n, C), float32.

    Parameters
    ----------
    covariates
        Their encoding.
    values
        Values of each covariate as text (n,).
    where, rows
        Name of the table, and of each row, for messages.

    Raises
    ------
    UserError
        If a category is unknown, or a value no finite number: names covariate, row, value and what is known.
    """
    return np.concatenate([each.columns(values[each.name], where, rows) for each in covariates], axis=1)


def _numbers(name: str, values: np.ndarray, where: str, rows: Sequence[str] | np.ndarray) -> np.ndarray:
    """Values as float64; refused unless all are finite."""
    try:
        numbers = values.astype(np.float64)
        bad = ~np.isfinite(numbers)
    except ValueError:
        bad = np.array([not _is_finite(value) for value in values])
        numbers = np.where(bad, "nan", values).astype(np.float64)
    if bad.any():
        expected = "a finite number; name categories with categorical_covariate_keys"
        raise _bad_row(name, values, where, rows, int(np.argmax(bad)), expected)
    return numbers


def _is_finite(value: str) -> bool:
    try:
        return math.isfinite(float(value))
    except ValueError:
        return False


def _bad_row(
    name: str, values: np.ndarray, where: str, rows: Sequence[str] | np.ndarray, row: int, expected: str
) -> UserError:
    value = str(values[row]) or "no value"
    return bad_input(f"{where}[{name!r}] in cell {str(rows[row])!r}", "", value, expected)
