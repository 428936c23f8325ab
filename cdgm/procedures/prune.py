"""Over-specify, take asymmetric axes out of the shared blocks, and fit again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from cdgm.evaluation.metrics.asymmetric_axes import moved_axes
from cdgm.procedures.base import RECORD, Procedure
from cdgm.utils.progress import progress

if TYPE_CHECKING:
    from cdgm.config.fit import FitSpec, Member
    from cdgm.config.model import ModelSpec
    from cdgm.models.comparative_vae import ComparativeVAE
    from cdgm.training.loop import TrainedStack


class Prune(Procedure):
    """Fit; where axes of a shared block are alive in one source only, fit again without so many; and so on.

    Each member goes its own way, until no axis of its shared blocks is asymmetric on its training points
    (:func:`cdgm.evaluation.metrics.asymmetric_axes.moved_axes`) or it was fitted ``refits`` times more.
    Private blocks keep their dimensions: what has moved out of one has a place to return to.

    A member of fewer dimensions is stored in the shape of the first fit, which changes nothing that it
    computes: the posterior of an axis that was taken out is the prior, and the decoder does not look at it.

    Attributes
    ----------
    refits
        Most fits after the first.
    """

    kind: Literal["prune"] = "prune"
    refits: int = Field(ge=1, le=100)

    def check(self, model: ModelSpec) -> None:
        """See :meth:`Procedure.check`."""
        super().check(model)
        if model.twist is not None or model.posterior != "mean_field":
            raise ValueError(
                "procedure prune knows models with a mean-field posterior and without a twist alone"
            )
        if not any(model.design.comparisons(block) for block in model.design.blocks):
            expected = "a block of several sources, of which one has a block that another lacks"
            raise ValueError(f"procedure prune has nothing to compare, expected {expected}")

    def trainings(self, members: Sequence[Member]) -> int:
        """See :meth:`Procedure.trainings`; most members take fewer."""
        return len(members) * (1 + self.refits)

    def fit(self, spec: FitSpec, x: Mapping[str, np.ndarray], replicates: Sequence[int]) -> TrainedStack:
        """See :meth:`Procedure.fit`; adds ``procedure/dims/<shared block>``, where the member ended (E,)."""
        import torch

        from cdgm.models.comparative_vae import ComparativeVAE
        from cdgm.training.loop import TrainedStack

        stack = ComparativeVAE(spec.model, next(iter(x.values())).shape[-1], len(spec.members))
        stack.to(getattr(torch, spec.training.precision))
        finite, fits = np.ones(len(spec.members), dtype=bool), np.zeros(len(spec.members), dtype=np.int64)
        ended = {e: spec.model.dims for e in range(len(spec.members))}
        history: dict[str, np.ndarray] = {}
        waiting = dict(ended)
        for left in reversed(range(1 + self.refits)):
            now, waiting = waiting, {}
            for size in sorted({tuple(dims.values()) for dims in now.values()}):
                some = [e for e, dims in now.items() if tuple(dims.values()) == size]
                trained, moved = _fit_and_look(spec, now[some[0]], some, x, [replicates[e] for e in some])
                widen(trained.model, stack, some)
                fits[some] += 1
                finite[some] = trained.finite
                _place(trained.history, history, some, len(spec.members))
                for e, axes in zip(some, moved, strict=True):
                    ended[e], smaller = now[e], without(now[e], axes)
                    if left and smaller != now[e]:
                        waiting[e] = smaller
        records = {f"{RECORD}fits": fits}
        for block in spec.model.design.blocks:
            if spec.model.design.comparisons(block):
                sizes = [ended[e][block] for e in range(len(spec.members))]
                records[f"{RECORD}dims/{block}"] = np.array(sizes)
        return TrainedStack(stack, finite, history | records)


def without(dims: Mapping[str, int], moved: Mapping[str, int]) -> dict[str, int]:
    """Dimensions without moved axes; a block keeps one."""
    return {block: max(1, size - moved.get(block, 0)) for block, size in dims.items()}


def _fit_and_look(
    spec: FitSpec,
    dims: Mapping[str, int],
    some: Sequence[int],
    x: Mapping[str, np.ndarray],
    replicates: Sequence[int],
) -> tuple[TrainedStack, list[dict[str, int]]]:
    """Train some members at some dimensions; moved axes of each on training points, none if it diverged."""
    from cdgm.models.inference import posterior_means
    from cdgm.training.loop import train

    own = spec.of([spec.members[e] for e in some], spec.model.model_copy(update={"dims": dict(dims)}))
    title = f"training {len(some)} of {' x '.join(map(str, dims.values()))}"
    with progress(title, spec.training.steps, "steps") as advance:
        trained = train(own, x, replicates, advance)
    means = {
        (source, block): mean
        for source in spec.model.design.sources
        for block, mean in posterior_means(trained.model, x[source], replicates, source).items()
    }
    return trained, [
        moved_axes(spec.model.design, {place: mean[i] for place, mean in means.items()}) if alive else {}
        for i, alive in enumerate(trained.finite)
    ]


def _place(
    found: Mapping[str, np.ndarray], history: dict[str, np.ndarray], some: Sequence[int], members: int
) -> None:
    """Write the history of some members into that of all."""
    for name, values in found.items():
        if values.ndim == 1:
            history[name] = values
        else:
            history.setdefault(name, np.empty((len(values), members), values.dtype))[:, list(some)] = values


def widen(small: ComparativeVAE, wide: ComparativeVAE, members: Sequence[int]) -> None:
    """Write a stack into members of one with more dimensions, which then compute the same.

    An encoder gives mean 0 and log-variance 0 for an axis more, which is the prior, and the decoder weighs
    its sample by 0.
    """
    import torch

    places = list(members)
    last = len(wide.spec.encoder_hidden)
    encoded = {f"encoders.{block}.layers.{last}": block for block in wide.design.blocks}
    values = dict(small.named_parameters())
    with torch.no_grad():
        for name, parameter in wide.named_parameters():
            layer, value = name.rpartition(".")[0], values[name]
            new = parameter.new_zeros((len(places), *parameter.shape[1:]))
            if layer in encoded:
                # Columns are the means of a block, then its log-variances.
                for of_new, of_value in zip(new.chunk(2, dim=-1), value.chunk(2, dim=-1), strict=True):
                    of_new[..., : of_value.shape[-1]] = of_value
            elif name == "decoder.layers.0.weight":
                start = 0
                blocks = [small.spec.dims[block] for block in small.design.blocks]
                for part, block in zip(value.split(blocks, dim=1), wide.design.blocks, strict=True):
                    new[:, start : start + part.shape[1]] = part
                    start += wide.spec.dims[block]
            else:
                new = value
            parameter[places] = new
