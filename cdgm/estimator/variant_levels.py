"""The number that says how strongly a variant presses for clean blocks, and the variant at other values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cdgm.config.fit import VariantSpec
from cdgm.config.validation import validated
from cdgm.estimator import settings
from cdgm.utils.errors import UserError, bad_input


@dataclass(frozen=True)
class Number:
    """A kind of number that can be swept.

    Attributes
    ----------
    off
        Its value at which nothing is pressed.
    usual
        Values to try where none are named, the weakest first.
    rising
        Whether larger values press more.
    """

    off: float
    usual: tuple[float, ...]
    rising: bool

    def ordered(self, values: list[float]) -> list[float]:
        """Values from the weakest to the strongest."""
        return sorted(values, reverse=not self.rising)


#: ``weight`` of a penalty; ``alpha`` (share of the null above the level) or ``level`` of a constraint.
NUMBERS = {
    "weight": Number(0.0, (100.0, 1_000.0, 10_000.0), True),
    "alpha": Number(0.0, (0.01, 0.05, 0.5), True),
    "level": Number(math.inf, (0.003, 0.001, 0.0003), False),
}


@dataclass(frozen=True)
class Levels:
    """A variant with some of its parts at a level to be chosen.

    Attributes
    ----------
    number
        Which number is swept: a key of :data:`NUMBERS`.
    of
        Names of the parts that have it.
    """

    plain: Mapping[str, Any]
    parts: tuple[tuple[str, int], ...]
    number: str
    of: tuple[str, ...]

    @classmethod
    def find(cls, variant: str | Mapping[str, Any], of: str | None = None) -> Levels:
        """Where a variant presses: on the weights of its penalties, or else the levels of its constraints.

        Parameters
        ----------
        variant
            As in ``ComparativeVAE``.
        of
            A penalty or constraint (``hsic``, ``mmd_shared``, ...) that is swept alone, others as they are.

        Raises
        ------
        UserError
            If there is no such part, or the parts are pressed by numbers of different kinds.
        """
        spec = settings.variant(variant)
        found = [("penalties", i, p.kind, "weight") for i, p in enumerate(spec.penalties)]
        found += [
            ("constraints", i, c.name, "level" if c.alpha is None else "alpha")
            for i, c in enumerate(spec.constraints)
            if c.kind == "upper_bound"
        ]
        names = list(dict.fromkeys(name for _, _, name, _ in found))
        if not found:
            raise UserError(
                f"choose_level: variant: got {variant!r}, expected one with penalties or constraints "
                "(hsic-mmd-cvae, co-cvae, ...)"
            )
        if of is not None and of not in names:
            raise bad_input("choose_level", "of", of, f"one of {names}")
        first = found[0][0]
        kept = [part for part in found if (part[0] == first if of is None else part[2] == of)]
        numbers = {number for *_, number in kept}
        if len(numbers) > 1:
            raise UserError(
                f"choose_level: of: missing, expected one of {names}: they have {sorted(numbers)}"
            )
        return cls(
            spec.model_dump(mode="json"),
            tuple((group, i) for group, i, _, _ in kept),
            numbers.pop(),
            tuple(dict.fromkeys(name for _, _, name, _ in kept)),
        )

    @property
    def kind(self) -> Number:
        """What is known of the swept number."""
        return NUMBERS[self.number]

    def at(self, value: float) -> dict[str, Any]:
        """The variant with its parts at a value, as ``config.yaml`` writes it; where that is off, without.

        Raises
        ------
        UserError
            If the value is none that these parts can have.
        """
        new: dict[str, Any] = {"combiner": self.plain["combiner"]}
        for group in ("penalties", "constraints"):
            swept = {i for g, i in self.parts if g == group}
            values = [
                dict(part) | ({self.number: value} if i in swept else {})
                for i, part in enumerate(self.plain.get(group, ()))
                if i not in swept or value != self.kind.off
            ]
            new[group] = values
        spec = validated(VariantSpec, new, f"choose_level: levels: {self.number} {value!r}")
        return spec.model_dump(mode="json", exclude_defaults=True)
