"""Observations of a user in the order in which they came, and what of them a model sees."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from cdgm.config.support import Support, violations
from cdgm.utils.errors import UserError, bad_input
from cdgm.utils.random_streams import stream

#: Rows of a source below which nothing can be held out, fitted and scored.
FEWEST_ROWS = 10
#: Held-out rows of a source from which scores are formed on held-out rows alone.
ENOUGH_HELD_OUT = 100
#: Validation rows of a source below which their ELBO is no guide, and above which more tell nothing new.
FEWEST_VALIDATION, MOST_VALIDATION = 10, 500
HELD_OUT, TRAIN, VALIDATION, ALL = "held_out", "train", "validation", "all"


@dataclass(frozen=True)
class Observed:
    """Rows of several sources, with their place in what the user gave.

    Attributes
    ----------
    x
        Source to (n_k, D), as they came.
    rows
        Source to the positions of its rows in the user's order (n_k,).
    features
        Names of the features (D,).
    names
        Names of all rows in the user's order (n,).
    label
        Label of all rows in the user's order (n,), "" where a row has none; None without labels.
    """

    x: dict[str, np.ndarray]
    rows: dict[str, np.ndarray]
    features: np.ndarray
    names: np.ndarray
    label: np.ndarray | None = None

    @property
    def n(self) -> int:
        """Number of rows of all sources."""
        return len(self.names)

    @property
    def source(self) -> np.ndarray:
        """Source of each row in the user's order (n,)."""
        source = np.empty(self.n, dtype=object)
        for name, rows in self.rows.items():
            source[rows] = name
        return source.astype(str)

    def ordered(self, parts: Mapping[str, np.ndarray], axis: int = 0) -> np.ndarray:
        """Arrays of all sources as one, in the user's order."""
        whole = np.concatenate([parts[name] for name in self.rows], axis=axis)
        order = np.argsort(np.concatenate(list(self.rows.values())), kind="stable")
        return np.take(whole, order, axis=axis)

    def marked(self, positions: Mapping[str, np.ndarray]) -> np.ndarray:
        """Which rows, in the user's order, are at these positions within their sources (n,)."""
        marked = np.zeros(self.n, dtype=bool)
        for source, rows in positions.items():
            marked[self.rows[source][rows]] = True
        return marked

    def digest(self) -> str:
        """Tells data sets apart: names of rows, sources and features, not the values."""
        text = "\n".join([*self.names, "", *self.source, "", *self.features])
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Split:
    """Positions within each source: rows to train on, held-out rows, and those of early stopping."""

    train: dict[str, np.ndarray]
    held_out: dict[str, np.ndarray]
    validation: dict[str, np.ndarray] = field(default_factory=dict)

    def positions(self, which: str) -> dict[str, np.ndarray]:
        """Positions within each source: ``train``, ``held_out``, ``validation`` (if there is) or ``all``."""
        known = {HELD_OUT: self.held_out, TRAIN: self.train}
        if self.validation:
            known[VALIDATION] = self.validation
        if which == ALL:
            return {s: np.sort(np.concatenate([rows[s] for rows in known.values()])) for s in self.train}
        if which not in known:
            raise bad_input("split", "", which, f"one of {[*known, ALL]}")
        return known[which]

    def set_aside(self, share: float, seed: int) -> Split:
        """The same with a share of each source's training rows for validation, 500 at most; none if it is 0.

        Earlier validation rows are training rows first.

        Raises
        ------
        UserError
            If a source has too few rows.
        """
        whole = self.train
        if self.validation:
            whole = {s: np.sort(np.concatenate([rows, self.validation[s]])) for s, rows in whole.items()}
        if not share:
            return Split(whole, self.held_out)
        train, validation = {}, {}
        for source, rows in whole.items():
            count = min(round(share * len(rows)), MOST_VALIDATION)
            if count < FEWEST_VALIDATION or len(rows) - count < FEWEST_ROWS:
                raise bad_input(
                    "train", "early_stopping_share", share,
                    f"a share that leaves at least {FEWEST_VALIDATION} rows to validate and {FEWEST_ROWS} to "
                    f"train on: source {source!r} has {len(rows)} training rows",
                )  # fmt: skip
            shuffled = stream("own data", "validation", source, seed, root=0).permutation(rows)
            validation[source], train[source] = np.sort(shuffled[:count]), np.sort(shuffled[count:])
        return Split(train, self.held_out, validation)

    def scored(self) -> str:
        """The split that scores are formed on where none is named: held-out rows, if they are enough."""
        return HELD_OUT if min(map(len, self.held_out.values())) >= ENOUGH_HELD_OUT else ALL


def split_rows(observed: Observed, share: float, seed: int) -> Split:
    """Hold a share of each source's rows out, at least two.

    Raises
    ------
    UserError
        If the share is none, or a source has too few rows.
    """
    if not 0 < share < 1:
        raise bad_input("held_out", "", share, "a share between 0 and 1, for instance 0.1")
    train, held_out = {}, {}
    for source, x in observed.x.items():
        if len(x) < FEWEST_ROWS:
            raise UserError(
                f"source {source!r}: got {len(x)} row{'s' * (len(x) != 1)}, expected at least {FEWEST_ROWS} "
                "to fit a model and hold some out (hundreds for a result)"
            )
        shuffled = stream("own data", "split", source, seed, root=0).permutation(len(x))
        count = min(max(2, round(share * len(x))), len(x) - 4)
        held_out[source], train[source] = np.sort(shuffled[:count]), np.sort(shuffled[count:])
    return Split(train, held_out)


def check_values(x: np.ndarray, support: Support, where: str, hint: str = "") -> None:
    """Refuse values that no number, or outside of what a likelihood is a law of.

    Parameters
    ----------
    x
        Any array of values: those stored, of a sparse matrix.
    support
        Of the likelihood.
    where
        Named in the error.
    hint
        What to do, after the error.
    """
    if x.dtype.kind not in "biuf":
        raise bad_input(where, "type", str(x.dtype), "numbers")
    checks = []
    if x.dtype.kind == "f":
        checks.append((~np.isfinite(x), "a finite number"))
    if x.dtype.kind != "b":
        checks += violations(x, support)
    for bad, expected in checks:
        if bad.any():
            value = x[np.unravel_index(int(np.argmax(bad)), bad.shape)].item()
            raise bad_input(where, "", value, f"{expected}{hint}")


def narrowest(x: np.ndarray, support: Support) -> np.ndarray:
    """The same values in the smallest type that suits: unsigned integers for counts, float32 for others."""
    if support == "real":
        return np.ascontiguousarray(x, dtype=np.float32)
    largest = int(x.max(initial=0))
    return np.ascontiguousarray(x, dtype=np.min_scalar_type(largest))
