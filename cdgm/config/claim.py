"""The types of claims: which score of a study must lie on which side of a threshold.

Imports pydantic alone, so that the workflow checks claims before anything is computed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, cast

from pydantic import ConfigDict, Discriminator, Field, StringConstraints, Tag, model_validator
from pydantic.config import JsonDict, JsonValue

from cdgm.utils.registry import Strict

Words = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]
Relation = Literal["at_least", "at_most"]
#: Scores that are signed differences themselves, so that 0 means none.
DIFFERENCES = ("front_gain",)
Source = Literal["abstract", "literature", "theory", "ours"]


class Place(Strict):
    """Values of columns of a study's table; a column that is left out may hold anything.

    Attributes
    ----------
    setting, variant, point
        Which fits: setting and variant of the study, and swept values of the variant (``hsic.weight=100``).
    source, block, truth, twist
        What is scored, on whose points, against what.
    """

    setting: str | None = None
    variant: str | None = None
    point: str | None = None
    source: str | None = None
    block: str | None = None
    truth: str | None = None
    twist: float | None = None
    metric: str | None = None

    @model_validator(mode="after")
    def _check(self) -> Place:
        if not self.given:
            raise ValueError(
                f"selects nothing, expected one or more of: {', '.join(type(self).model_fields)}"
            )
        return self

    @property
    def given(self) -> dict[str, Any]:
        """Columns with the values that they have to have."""
        return self.model_dump(exclude_none=True)

    def __str__(self) -> str:
        return ", ".join(f"{column}={value}" for column, value in self.given.items())


def _optional(*keys: str) -> Callable[[JsonDict], None]:
    """Remove ``keys`` from those that the schema of files requires: other parts of a file may give them."""

    def relax(schema: JsonDict) -> None:
        left = [key for key in cast("list[str]", schema.pop("required")) if key not in keys]
        if left:
            schema["required"] = cast("list[JsonValue]", left)

    return relax


class Selector(Place):
    """A :class:`Place` that picks one number a seed: it names the metric.

    Attributes
    ----------
    metric
        Which score.
    """

    # In a file, the metric may come from ``at`` or ``of``: the schema of files can't ask for it here.
    model_config = ConfigDict(json_schema_extra=_optional("metric"))

    metric: str  # pyright: ignore[reportGeneralTypeIssues]  # a place may leave it out, a selector may not

    def at(self, place: Place) -> Selector:
        """The selector with the columns of ``place`` laid over its own."""
        return Selector(**(self.given | place.given))


class Condition(Strict):
    """A median over seeds, or a share of seeds, and the side of a threshold on which it has to lie.

    Attributes
    ----------
    name
        In words.
    why
        Reason for the threshold, in words.
    of
        The score: one row a seed.
    minus, over
        A second score, subtracted from the first or dividing it *seed by seed*; at most one of the two.
    over_fits
        Whether a seed's number is the mean over all fits that ``of`` selects, which may then be several: for
        shares of fits. Fits without a score are left out.
    absolute
        Whether the sign of each seed's number is dropped: for differences that have to be small.
    seeds_at_least, seeds_at_most
        With one of the two, the share of seeds whose number lies on this side of it is judged and not the
        median: for numbers with two modes, of which the median says nothing.
    at_least, at_most
        The threshold, in the units of the score, or a share of seeds; exactly one of the two.
    equivalent_within
        Half-width around 0 inside which a difference counts as none; absent where no difference is too small
        to count.
    optimisation
        Whether this condition is about the quality of a *fit* (a held-out ELBO) and not about latents. If it
        fails, the verdict names the optimisation as the reason.
    """

    name: Words
    why: str = ""
    of: Selector
    minus: Selector | None = None
    over: Selector | None = None
    over_fits: bool = False
    absolute: bool = False
    seeds_at_least: float | None = None
    seeds_at_most: float | None = None
    at_least: float | None = None
    at_most: float | None = None
    equivalent_within: float | None = Field(None, gt=0)
    optimisation: bool = False

    @model_validator(mode="after")
    def _check(self) -> Condition:
        if self.minus is not None and self.over is not None:
            raise ValueError("has both 'minus' and 'over', expected at most one of them")
        if self.over_fits and len(self.selectors) > 1:
            raise ValueError("has 'over_fits' beside 'minus' or 'over', expected 'of' alone")
        if (self.at_least is None) == (self.at_most is None):
            both = ("both", "and") if self.at_least is not None else ("neither", "nor")
            raise ValueError(f"has {both[0]} 'at_least' {both[1]} 'at_most', expected one of them")
        if self.seeds_at_least is not None and self.seeds_at_most is not None:
            raise ValueError("has both 'seeds_at_least' and 'seeds_at_most', expected at most one of them")
        if self.is_share and not 0 < self.wanted[1] < 1:
            raise ValueError(f"asks for a share of seeds of {self.wanted[1]:g}, expected one between 0 and 1")
        signed = self.minus is not None or (self.of.metric in DIFFERENCES and self.over is None)
        if self.equivalent_within is not None and (not signed or self.absolute or self.is_share):
            raise ValueError("has 'equivalent_within', expected it for the median of a signed difference")
        return self

    @property
    def is_share(self) -> bool:
        """Whether a share of seeds is judged."""
        return self.seeds_at_least is not None or self.seeds_at_most is not None

    @property
    def selectors(self) -> tuple[Selector, ...]:
        """All selectors, ``of`` first."""
        return tuple(s for s in (self.of, self.minus, self.over) if s is not None)

    @property
    def wanted(self) -> tuple[Relation, float]:
        """Side and threshold."""
        if self.at_least is not None:
            return "at_least", self.at_least
        assert self.at_most is not None  # by _check
        return "at_most", self.at_most

    def at(self, place: Place) -> Condition:
        """The condition for one of several alternatives: ``place`` is laid over ``of`` alone."""
        return self.model_copy(update={"of": self.of.at(place)})

    def alternatives(self) -> list[tuple[str, tuple[Condition, ...]]]:
        """Itself, without a name: a condition has no alternatives."""
        return [("", (self,))]


class AnyOf(Strict):
    """Conditions that have to hold *together* in at least one of several places.

    Attributes
    ----------
    name
        In words.
    any_of
        The alternatives, each laid over ``of`` of every condition; what is subtracted stays as it is.
    conditions
        Conditions that have to hold at one and the same alternative.
    """

    name: Words
    any_of: tuple[Place, ...] = Field(min_length=2)
    conditions: tuple[Condition, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _check(self) -> AnyOf:
        if len({str(place) for place in self.any_of}) < len(self.any_of):
            raise ValueError("any_of holds the same alternative twice")
        return self

    def alternatives(self) -> list[tuple[str, tuple[Condition, ...]]]:
        """The place of each alternative, and the conditions there."""
        return [(str(place), tuple(c.at(place) for c in self.conditions)) for place in self.any_of]


def completed(clause: Any, shared: Mapping[str, Any]) -> Any:
    """A condition, or a group of them, with the columns that selectors inherit written out.

    ``shared`` is laid under ``of``, and ``of`` under ``minus`` and ``over``. Anything but a mapping is
    returned as it is, for the types to refuse.
    """
    if not isinstance(clause, Mapping):
        return clause
    if isinstance(clause.get("conditions"), list | tuple):
        return {**clause, "conditions": [completed(inner, shared) for inner in clause["conditions"]]}
    first = clause.get("of")
    if not isinstance(first, Mapping):
        return clause
    first = {**shared, **first}
    others = {
        key: {**first, **clause[key]} for key in ("minus", "over") if isinstance(clause.get(key), Mapping)
    }
    return {**clause, "of": first, **others}


def _kind(value: Any) -> str:
    is_group = isinstance(value, AnyOf) or (isinstance(value, dict) and "any_of" in value)
    return "clause-any_of" if is_group else "clause-condition"


class VerdictRules(Strict):
    """The error that verdicts are allowed, and how it is spent.

    Attributes
    ----------
    alpha
        Probability, for each claim, of a wrong verdict.
    looks
        Numbers of seeds at which an undecided claim is looked at again, ascending; none: one look, at the
        seeds of the study. Each look spends an equal part of ``alpha`` (Bonferroni), so that the parts add up
        whatever the looks have in common (:mod:`cdgm.claims.looks`).
    """

    alpha: float = Field(default=0.05, gt=0, lt=0.5)
    looks: tuple[int, ...] = ()

    @model_validator(mode="after")
    def _check(self) -> VerdictRules:
        if list(self.looks) != sorted(set(self.looks)) or any(n < 1 for n in self.looks):
            raise ValueError(f"looks are {list(self.looks)}, expected ascending numbers of seeds")
        return self


# By the key itself, so that a mistake inside a condition is one error and not two failed attempts.
Clause = Annotated[
    Annotated[Condition, Tag("clause-condition")] | Annotated[AnyOf, Tag("clause-any_of")],
    Discriminator(_kind),
]


class Claim(Strict):
    """A falsifiable statement with the conditions that decide it, fixed before the run.

    Attributes
    ----------
    statement
        What is claimed, in words.
    source
        Origin: the paper's own ``abstract``, the ``literature`` on the methods that it compares, ``theory``
        (a consequence that we derive), or a finding of ``ours``.
    cites
        The sentence or reference that the claim stands on.
    study, figure
        Study whose table decides, and its figure that shows it.
    note
        A remark beside the verdict; may be empty.
    at
        Columns that all scores share; each selector is laid over them. In the same way ``minus`` and
        ``over`` are laid over ``of``, so that they name only what differs.
    rule, with
        Name of a rule of the config, whose conditions are added, and values for its holes; a list of
        mappings adds the rule's conditions once for each. :func:`cdgm.config.claim_rules.with_rules` writes
        them into ``conditions``, so nothing else reads these two.
    needs
        Preconditions: without them there is nothing to test.
    conditions
        All have to hold.
    """

    # In a file, the conditions may all come from a rule: the schema of files can't ask for them here.
    model_config = ConfigDict(json_schema_extra=_optional("conditions"))

    statement: Words
    source: Source
    cites: str = ""
    study: str
    figure: str
    note: str = ""
    at: Place | None = None
    rule: str | None = Field(None, exclude=True)
    with_: dict[str, Any] | tuple[dict[str, Any], ...] | None = Field(None, alias="with", exclude=True)
    needs: tuple[Condition, ...] = ()
    conditions: tuple[Clause, ...] = Field(min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, values: Any) -> Any:
        """Write out what selectors inherit from ``at`` and from one another."""
        if not isinstance(values, dict):
            return values
        shared = values.get("at")
        shared = shared if isinstance(shared, dict) else {}
        return values | {
            key: [completed(clause, shared) for clause in values[key]]
            for key in ("needs", "conditions")
            if isinstance(values.get(key), list | tuple)
        }

    def each_condition(self) -> list[Condition]:
        """Every condition of the claim, for every alternative; preconditions first."""
        places = [place for clause in (*self.needs, *self.conditions) for place in clause.alternatives()]
        return [condition for _, conditions in places for condition in conditions]
