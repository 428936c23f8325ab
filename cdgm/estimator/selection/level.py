"""Choose the level of a variant: a sweep over the strength of its penalties or constraints, and a rule."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from cdgm.config.fit import VariantSpec
from cdgm.config.validation import validated
from cdgm.estimator.interpretation import AGREE
from cdgm.estimator.selection.sweep import JUDGED, MEASURED, distinct, judged, sweep, words
from cdgm.estimator.specification import parse_variant
from cdgm.objectives.constraints.upper_bound import UpperBound
from cdgm.utils.errors import UserError, bad_input

if TYPE_CHECKING:
    from anndata import AnnData

COLUMNS = ["level", "strength", *MEASURED, *JUDGED]


class Option(NamedTuple):
    """An option of penalties or constraints that can be swept.

    Attributes
    ----------
    off
        Value without any effect.
    usual
        Values to try by default, weakest first.
    rising
        Whether larger values are stronger.
    """

    off: float
    usual: tuple[float, ...]
    rising: bool


#: ``weight`` of a penalty; ``alpha`` (share of the null above the level) or ``level`` of a constraint.
OPTIONS = {
    "weight": Option(0.0, (100.0, 1_000.0, 10_000.0), True),
    "alpha": Option(0.0, (0.01, 0.05, 0.5), True),
    "level": Option(math.inf, (0.003, 0.001, 0.0003), False),
}


@dataclass(frozen=True)
class LevelledVariant:
    """A variant whose penalties or constraints can be set to a level.

    Attributes
    ----------
    plain
        The variant, as ``config.yaml`` writes it.
    parts
        Group (``penalties`` or ``constraints``) and place of each part that has the level.
    option
        Name of the option that is the level: a key of :data:`OPTIONS`.
    of
        Names of the parts.
    """

    plain: Mapping[str, Any]
    parts: tuple[tuple[str, int], ...]
    option: str
    of: tuple[str, ...]

    @classmethod
    def find(cls, variant: str | Mapping[str, Any], of: str | None = None) -> LevelledVariant:
        """Find the levels of a variant: the weights of its penalties, or else the levels of its constraints.

        Parameters
        ----------
        variant
            As in ``ComparativeModel``.
        of
            A penalty or constraint (``hsic``, ``mmd_shared``, ...) to set alone; the others stay as they are.

        Raises
        ------
        UserError
            If there is no such part, or the parts have options of different kinds.
        """
        spec = parse_variant(variant)
        found = [("penalties", i, p.kind, "weight") for i, p in enumerate(spec.penalties)]
        found += [
            ("constraints", i, c.name, "level" if c.alpha is None else "alpha")
            for i, c in enumerate(spec.constraints)
            if isinstance(c, UpperBound)
        ]
        names = list(dict.fromkeys(name for _, _, name, _ in found))
        if not found:
            raise UserError(
                f"choose_level: variant: got {variant!r}, expected one with penalties or constraints "
                "(hsic-mmd-cvae, co-cvae, ...)"
            )
        if of is not None and of not in names:
            raise bad_input("choose_level", "of", of, f"one of {names}")
        kept = [part for part in found if (part[0] == found[0][0] if of is None else part[2] == of)]
        options = {option for *_, option in kept}
        if len(options) > 1:
            raise UserError(
                f"choose_level: of: missing, expected one of {names}: they have {sorted(options)}"
            )
        parts = tuple((group, i) for group, i, _, _ in kept)
        of_parts = tuple(dict.fromkeys(name for _, _, name, _ in kept))
        return cls(spec.model_dump(mode="json"), parts, options.pop(), of_parts)

    @property
    def title(self) -> str:
        """Such as "weight of hsic and mmd_shared"."""
        return f"{self.option} of {' and '.join(self.of)}"

    def weakest_first(self, levels: Sequence[float] | None) -> list[float]:
        """The level without effect, and then these (by default the usual ones) by strength."""
        off, usual, rising = OPTIONS[self.option]
        given = distinct("choose_level", "levels", usual if levels is None else levels, "levels")
        return [off, *sorted((float(v) for v in given if v != off), reverse=not rising)]

    def at(self, level: float) -> dict[str, Any]:
        """The variant at a level, as ``config.yaml`` writes it; without the parts where that has no effect.

        Raises
        ------
        UserError
            If the parts cannot have this level.
        """
        new: dict[str, Any] = {"combiner": self.plain["combiner"]}
        for group in ("penalties", "constraints"):
            swept = {i for g, i in self.parts if g == group}
            new[group] = [
                dict(part) | ({self.option: level} if i in swept else {})
                for i, part in enumerate(self.plain.get(group, ()))
                if i not in swept or level != OPTIONS[self.option].off
            ]
        spec = validated(VariantSpec, new, f"choose_level: levels: {self.option} {level!r}")
        return spec.model_dump(mode="json", exclude_defaults=True)


@dataclass(frozen=True)
class Level:
    """Result of :func:`choose_level`.

    Attributes
    ----------
    table
        A row a level, weakest first: ``level``; ``strength``, its place, 0 for the fit without; the columns
        of :func:`cdgm.estimator.selection.sweep.measured`; and the decisions of the rule: ``within``,
        ``stable``, ``clean``, ``recommended``.
    level
        The recommendation.
    variant
        The variant at this level, for ``ComparativeModel(variant=...)``.
    reason
        Why, in a sentence.
    title
        What the level is, such as "weight of hsic".
    """

    table: pd.DataFrame
    level: float
    variant: dict[str, Any]
    reason: str
    title: str

    def plot(self, prefix: str | Path) -> None:
        """Write a figure to ``<prefix>.png`` and ``.pdf``, and its numbers to ``.csv``."""
        from cdgm.figures.choices import level_figure
        from cdgm.plotting.saving import save

        save(level_figure(self.table, self.title, AGREE), self.table, prefix)


def choose_level(
    data: AnnData | Mapping[str, Any],
    variant: str | Mapping[str, Any] = "hsic-mmd-cvae",
    levels: Sequence[float] | None = None,
    of: str | None = None,
    n_members: int = 3,
    max_steps: int | None = None,
    progress_bar: bool = True,
    early_stopping: bool | None = None,
    device: str = "cpu",
    **options: Any,
) -> Level:
    """Fit a variant without its penalties (or constraints) and at several levels of them; recommend one.

    The rule: (1) keep the levels, the fit without among them, whose held-out ELBO lies below the best by no
    more than the members of one level differ among themselves, and of these those on which members agree, if
    there are any; (2) take the weakest at which nothing leaks; (3) if something leaks at all of them, take
    the strongest: as strong as costs nothing.

    Parameters
    ----------
    data
        An AnnData object that was set up, or arrays of two sources.
    variant
        A variant with penalties or constraints.
    levels
        Levels to try: weights of penalties; of constraints ``alpha``, or ``level`` where the variant has
        that. The fit without is always included. By default those of
        :data:`cdgm.estimator.selection.level.OPTIONS`.
    of
        Name of a penalty or constraint to sweep alone; by default all penalties, or else all constraints.
    n_members
        Members of each fit, two or more.
    max_steps, progress_bar, early_stopping, device
        As in ``ComparativeModel.train``.
    options
        Further arguments of ``ComparativeModel``, or of ``ComparativeModel.from_arrays``: above all the
        dimensions.

    Raises
    ------
    UserError
        If an argument is wrong, or every fit diverged.
    """
    swept = LevelledVariant.find(variant, of)
    points = [
        ({"level": level, "strength": i}, {"variant": swept.at(level)})
        for i, level in enumerate(swept.weakest_first(levels))
    ]
    training = {
        "max_steps": max_steps, "progress_bar": progress_bar,
        "early_stopping": early_stopping, "device": device,
    }  # fmt: skip
    table = sweep("choose_level", data, points, n_members, training, options)
    table, level, reason = recommend_level(table, swept.title)
    return Level(table, level, swept.at(level), reason, swept.title)


def recommend_level(table: pd.DataFrame, title: str) -> tuple[pd.DataFrame, float, str]:
    """Apply the rule of :func:`choose_level` to measured levels.

    Parameters
    ----------
    table
        The columns of :class:`Level` before ``within``.
    title
        What the level is, for the reason.

    Returns
    -------
    table, level, reason
        As in :class:`Level`.
    """
    table, tolerance = judged(table)
    kept = table[table["within"]].sort_values("strength")
    stable = kept[kept["stable"]] if kept["stable"].any() else kept
    clean = stable[stable["clean"]]
    row = clean.iloc[0] if len(clean) else stable.iloc[-1]
    rank = "weakest at which nothing leaks" if len(clean) else "strongest"
    name = f"no {title}" if row["strength"] == 0 else f"{title} {row['level']:g}"
    reason = (
        f"{name}: the {rank} of {len(stable)} levels whose held-out ELBO is within {tolerance:.3g} nats of "
        f"the best ({row['elbo']:.2f}, best {table['elbo'].max():.2f}); {words(row)}"
    )
    return table.assign(recommended=table.index == row.name)[COLUMNS], float(row["level"]), reason
