"""The split of each source's rows: to train on, held out, and for validation in training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real

import numpy as np

from cdgm.utils.errors import UserError, bad_input
from cdgm.utils.random_streams import stream

#: Fewest rows of a source from which a model can be trained, held out and scored.
FEWEST_ROWS = 10
#: Held-out rows that each source needs for scores on held-out rows alone.
ENOUGH_HELD_OUT = 100
#: Validation rows of a source: fewer are no guide, more add nothing.
FEWEST_VALIDATION, MOST_VALIDATION = 10, 500
PARTS = TRAIN, HELD_OUT, VALIDATION = ("train", "held_out", "validation")
ALL = "all"


@dataclass(frozen=True, eq=False)
class Split:
    """Part that each row belongs to.

    Attributes
    ----------
    part
        Source to the place in :data:`PARTS` of each of its rows (n_k,), uint8.
    """

    part: dict[str, np.ndarray]

    @classmethod
    def draw(cls, sizes: Mapping[str, int], share: float, seed: int) -> Split:
        """Hold out a share of each source's rows, at least two; train on the others.

        Parameters
        ----------
        sizes
            Source to its number of rows.
        share
            Share that is held out.
        seed
            Decides which rows.

        Raises
        ------
        UserError
            If the share is not between 0 and 1, or a source has too few rows.
        """
        if not isinstance(share, Real) or isinstance(share, bool) or not 0 < share < 1:
            raise bad_input("held_out", "", share, "a share between 0 and 1, for instance 0.1")
        part = {}
        for source, n in sizes.items():
            if n < FEWEST_ROWS:
                raise UserError(
                    f"source {source!r}: got {n} row{'s' * (n != 1)}, expected at least {FEWEST_ROWS} "
                    "to fit a model and hold some out (hundreds for a result)"
                )
            shuffled = stream("own data", "split", source, seed, root=0).permutation(n)
            part[source] = np.zeros(n, dtype=np.uint8)
            part[source][shuffled[: min(max(2, round(share * n)), n - 4)]] = PARTS.index(HELD_OUT)
        return cls(part)

    @property
    def names(self) -> list[str]:
        """Names of the parts; ``validation`` only after early stopping or several starts."""
        validates = any((part == PARTS.index(VALIDATION)).any() for part in self.part.values())
        return list(PARTS if validates else PARTS[:2])

    def rows(self, which: str) -> dict[str, np.ndarray]:
        """Positions within each source of the rows of a part, or of ``all``.

        Raises
        ------
        UserError
            If there is no such part.
        """
        if which == ALL:
            return {source: np.arange(len(part)) for source, part in self.part.items()}
        if which not in self.names:
            raise bad_input("split", "", which, f"one of {[*self.names, ALL]}")
        return {source: np.flatnonzero(part == PARTS.index(which)) for source, part in self.part.items()}

    def set_aside(self, share: float, seed: int, asked: tuple[str, object] | None = None) -> Split:
        """Move a share of each source's training rows to ``validation``, 500 at most; none if it is 0.

        Earlier validation rows return to the training rows first.

        Parameters
        ----------
        share, seed
            How many rows, and which.
        asked
            Argument of ``train`` that asked for them, for the error; by default the share itself.

        Raises
        ------
        UserError
            If a source has too few rows.
        """
        validation = PARTS.index(VALIDATION)
        whole = {source: np.where(part == validation, 0, part) for source, part in self.part.items()}
        for source, part in whole.items() if share else ():
            rows = np.flatnonzero(part == 0)
            count = min(round(share * len(rows)), MOST_VALIDATION)
            if count < FEWEST_VALIDATION or len(rows) - count < FEWEST_ROWS:
                leaves = f"at least {FEWEST_VALIDATION} rows to validate and {FEWEST_ROWS} to train on"
                has = f"source {source!r} has {len(rows)} training rows"
                if asked is None:
                    expected = f"a share that leaves {leaves}: {has}"
                    raise bad_input("train", "early_stopping_share", share, expected)
                raise bad_input("train", *asked, f"1, unless {share:g} of the rows leaves {leaves}: {has}")
            shuffled = stream("own data", "validation", source, seed, root=0).permutation(rows)
            part[shuffled[:count]] = validation
        return Split(whole)

    def scored(self) -> str:
        """Name the part that scores use by default: held-out rows if there are enough, else all rows."""
        return HELD_OUT if min(map(len, self.rows(HELD_OUT).values())) >= ENOUGH_HELD_OUT else ALL
