"""A penalty's quantity held under a level instead of being weighted."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, model_validator

from cdgm.config.design import Design
from cdgm.objectives.constraints.base import NULL_ROWS, Constraint
from cdgm.objectives.context import ObjectiveContext
from cdgm.objectives.penalties import PENALTIES
from cdgm.utils.registry import PerMember, Sweep, field_of

if TYPE_CHECKING:
    from torch import Tensor

    from cdgm.models.comparative_vae import Pass, Posteriors
    from cdgm.objectives.penalties.base import Penalty
else:
    Penalty = field_of(PENALTIES)

REFRESH = 100
"""Steps after which a null is drawn up anew from the current posteriors."""


class UpperBound(Constraint):
    """``penalty <= level``.

    The level is a number of its own, or comes from a null: with ``alpha``, the quantity may be as
    large as chance makes it in all but a share ``alpha`` of samples of 1,024 rows with nothing to find
    (of all training points of the smallest source, if these are fewer). The null is that of the
    *current* posteriors, taken from the latest batches: a null of the prior would never bite, because
    fitted means shrink.

    Attributes
    ----------
    penalty
        What is held (plug-in), without a weight.
    level
        Absolute level, per member.
    alpha
        Share of the null above the level, per member. Exactly one of both is given.
    margin
        Part of the level that training keeps in hand: it holds the quantity at ``(1 - margin) level``. What
        binds lies at its bound, and held-out points are on either side of it.
    """

    kind: Literal["upper_bound"] = "upper_bound"
    penalty: Penalty
    level: Annotated[float | Sweep | None, PerMember(minimum=0)] = None
    alpha: Annotated[float | Sweep | None, PerMember(above=0, maximum=0.5)] = None
    margin: float = Field(0.0, ge=0, lt=1)

    @model_validator(mode="after")
    def _check(self) -> UpperBound:
        if (self.level is None) == (self.alpha is None):
            raise ValueError("needs exactly one of 'level' and 'alpha'")
        if self.penalty.weight is not None:
            raise ValueError(f"penalty {self.penalty.kind!r} is held under a level and can't have a weight")
        if self.penalty.ramp:
            raise ValueError(f"penalty {self.penalty.kind!r} is held under a level and can't have a ramp")
        if self.alpha is not None and not self.penalty.has_null:
            raise ValueError(
                f"penalty {self.penalty.kind!r} has no null with these options: give a level, or the "
                "unbiased estimator where there is one"
            )
        return self

    @property
    def needs_inactive(self) -> bool:  # type: ignore[override]
        """Whether the penalty does."""
        return self.penalty.needs_inactive

    @property
    def can_assess(self) -> bool:  # type: ignore[override]
        """Whether the penalty is a function of posteriors alone."""
        return self.penalty.is_pure

    @property
    def name(self) -> str:
        """The penalty's kind."""
        return self.penalty.kind

    def check(self, design: Design) -> None:
        """See :meth:`Constraint.check`."""
        self.penalty.check(design)

    def begin(self, context: ObjectiveContext) -> _State:
        """See :meth:`Constraint.begin`."""
        if self.alpha is None:
            return _State(self.penalty.start(context), context.numbers("level"))
        rows = min(NULL_ROWS, *context.sizes.values())
        alpha = context.numbers("alpha")
        batches = -(-rows // context.batch_size)
        return _State(self.penalty.start(context), alpha * float("nan"), alpha, rows, deque(maxlen=batches))

    def measure(self, result: Pass, design: Design, state: Any) -> tuple[Tensor, Tensor]:
        """See :meth:`Constraint.measure`."""
        value = self.penalty.value(result, design, state.penalty)
        if state.alpha is not None:
            state.latest.append(_detached({**result.posteriors, **result.inactive}))
            full = len(state.latest) == state.latest.maxlen
            if full and state.steps % REFRESH == 0:
                state.level = _null_level(
                    self.penalty, _joined(state.latest, state.rows), design, state.alpha
                )
            # Counting starts with the first full bank, so the first level is there as early as can be.
            state.steps += full
        return value, (1 - self.margin) * state.level

    def assess(self, members: Sequence[Any], posteriors: Posteriors, design: Design) -> tuple[Tensor, Tensor]:
        """See :meth:`Constraint.assess`."""
        value = self.penalty.measure(posteriors, design)
        if self.alpha is None:
            return value, value.new_tensor([member.level for member in members])
        alpha = value.new_tensor([member.alpha for member in members])
        return value, _null_level(self.penalty, posteriors, design, alpha)


@dataclass
class _State:
    """What a constraint of this kind keeps: the penalty's state, the level, and the latest posteriors."""

    penalty: Any
    level: Tensor
    alpha: Tensor | None = None
    rows: int = 0
    latest: deque[Posteriors] = field(default_factory=lambda: deque[Any]())
    steps: int = 0


def _detached(posteriors: Posteriors) -> Posteriors:
    return {
        key: type(p)(p.mean.detach(), p.log_variance.detach(), p.sample.detach(), covariates=p.covariates)
        for key, p in posteriors.items()
    }


def _joined(batches: Sequence[Posteriors], rows: int) -> Posteriors:
    import torch

    def latest(key: tuple[str, str], name: str) -> Tensor:
        return torch.cat([getattr(batch[key], name) for batch in batches], dim=1)[:, -rows:]

    names = ("mean", "log_variance", "sample")
    return {
        key: type(p)(
            **{name: latest(key, name) for name in names},
            covariates=None if p.covariates is None else latest(key, "covariates"),
        )
        for key, p in batches[-1].items()
    }


def _null_level(penalty: Any, posteriors: Posteriors, design: Design, alpha: Tensor) -> Tensor:
    from cdgm.objectives.null_quantiles import quantile

    return quantile(penalty.null(posteriors, design), alpha)
