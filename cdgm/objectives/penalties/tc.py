"""Total correlation of each source's active blocks, estimated by a discriminator."""

# Torch's own types are partial (autograd.grad).
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from cdgm.config.design import Design
from cdgm.objectives.context import ObjectiveContext
from cdgm.objectives.penalties.base import Penalty

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from cdgm.models.comparative_vae import Pass
    from cdgm.models.stacks import StackedMLP


class TotalCorrelation(Penalty):
    """Sum over sources of KL(q(blocks) || product of q(block)), by the density-ratio trick.

    A discriminator separates posterior samples of all active blocks of a source from samples of which each
    block comes from another row. Its logit is then the log of the ratio of the two densities, and the
    penalty is the mean logit of real rows (Abid & Zou 2019, section 3; after Kim & Mnih 2018). The
    product of marginals comes from the same batch: for two blocks its halves are swapped, as in the
    public code; for k blocks they are rolled against each other by k-ths of the batch.

    Once a step, before the penalty is formed, the discriminator takes one step of its own Adam on detached
    samples; the penalty's gradient goes to the encoders alone. The public code differs: there the
    discriminator's loss is part of the one loss, with one optimiser for all, and nothing is detached, so
    encoders also follow the gradient that *helps* the discriminator. Its discriminator is one dense layer.
    That is linear in the blocks; joint and product have the same marginals, so its best logit is 0
    whatever the dependence, and it holds nothing back. ``hidden: 0`` is there to show this.

    Attributes
    ----------
    hidden
        Width of the discriminator's hidden layer (leaky ReLU); 0 for none.
    learning_rate
        Of the discriminator's Adam.
    """

    kind: Literal["tc"] = "tc"
    hidden: int = Field(ge=0, le=100_000)
    learning_rate: float = Field(gt=0, le=1_000)

    is_pure: ClassVar[bool] = False

    def check(self, design: Design) -> None:
        """See :meth:`Penalty.check`."""
        if not any(_groups(design)):
            raise ValueError("penalty 'tc' compares blocks of a source, but no source has two active blocks")

    def start(self, context: ObjectiveContext) -> Discriminators:
        """One discriminator a source and member, each member's from its own generator."""
        import torch

        from cdgm.models.stacks import StackedMLP

        networks: dict[str, StackedMLP] = {}
        for source, blocks in _groups(context.design):
            n_in = sum(context.dims[block] for block in blocks)
            hidden = [self.hidden] if self.hidden else []
            networks[source] = StackedMLP(len(context.members), n_in, hidden, 1, "leaky_relu").to(
                context.device, context.dtype
            )
            networks[source].reset(context.generators)
        parameters = [p for network in networks.values() for p in network.parameters()]
        return Discriminators(networks, torch.optim.Adam(parameters, lr=self.learning_rate, fused=True))

    def value(self, result: Pass, design: Design, state: Discriminators) -> Tensor:
        """See :meth:`Penalty.value`; the discriminators take their step."""
        samples: dict[str, Sequence[Tensor]] = {
            source: [result.posteriors[source, block].sample for block in blocks]
            for source, blocks in _groups(design)
        }
        state.step(samples)
        return reduce(add, (state.log_ratio(source, blocks).mean(1) for source, blocks in samples.items()))


@dataclass
class Discriminators:
    """Discriminators of a stack, one a source, and their optimiser."""

    networks: dict[str, StackedMLP]
    optimiser: torch.optim.Optimizer

    def step(self, samples: dict[str, Sequence[Tensor]]) -> None:
        """One step on samples of each source's blocks, (E, n, d) each: logistic loss, equal classes."""
        import torch
        from torch.nn.functional import softplus

        losses: list[Tensor] = []
        for source, blocks in samples.items():
            real = [block.detach() for block in blocks]
            network = self.networks[source]
            logits = network(torch.cat([torch.cat(real, dim=-1), shuffled(real)], dim=1)).squeeze(-1)
            joint, product = logits.chunk(2, dim=1)
            losses.append((softplus(-joint).mean(1) + softplus(product).mean(1)).sum())
        (group,) = self.optimiser.param_groups
        for parameter, gradient in zip(
            group["params"], torch.autograd.grad(reduce(add, losses), group["params"]), strict=True
        ):
            parameter.grad = gradient
        self.optimiser.step()

    def log_ratio(self, source: str, blocks: Sequence[Tensor]) -> Tensor:
        """Estimated log density ratio of joint and product (E, n); no gradient goes to the network."""
        import torch

        network = self.networks[source]
        held = {name: parameter.detach() for name, parameter in network.named_parameters()}
        return torch.func.functional_call(network, held, (torch.cat(list(blocks), dim=-1),)).squeeze(-1)


def shuffled(blocks: Sequence[Tensor]) -> Tensor:
    """Rows of which each block comes from another row: block i is rolled by i k-ths of the rows."""
    import torch

    n = blocks[0].shape[1]
    return torch.cat([b.roll(i * n // len(blocks), dims=1) for i, b in enumerate(blocks)], dim=-1)


def _groups(design: Design) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Sources that have several active blocks, with these."""
    for source in design.sources:
        blocks = design.active(source)
        if len(blocks) > 1:
            yield source, blocks
