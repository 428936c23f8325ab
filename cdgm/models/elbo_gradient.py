"""Gradients of the sources' ELBOs by hand: one pass, few and large operations, no graph.

A stack's step at the sizes of simulations is many small operations, of which autograd's bookkeeping would be
the larger part. Here the gradient runs through whole networks and writes where it is needed. Gradients of
anything else (penalties, constraints) enter by the posteriors (:class:`cdgm.models.block_posterior.Pull`).
Torch's inference mode makes each operation cheaper still; autograd takes only clones of its tensors.
"""

# Torch's own types are partial (grad).
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from cdgm.models.block_posterior import BlockTrace, Pull
from cdgm.models.comparative_vae import Batch, ComparativeVAE, Pass, PassTrace
from cdgm.models.stacks import LayerGradients, StackedMLP, parameter_views

Pulls = Mapping[tuple[str, str], Pull]
"""Gradients by the posteriors, by (source, block)."""

EVERY = slice(None)


class _Places:
    """The gradient of a stack (E, P) and the places of its parts."""

    def __init__(self, model: ComparativeVAE, flat: Tensor) -> None:
        views = parameter_views(model, flat)
        self.encoders: dict[str, LayerGradients] = {
            block: _network(encoder).places(views, f"encoders.{block}")
            for block, encoder in model.encoders.items()
        }
        self.decoder = model.decoder.places(views, "decoder")
        self.likelihood = {
            name: views[f"likelihood_parameters.{name}"] for name in model.likelihood_parameters
        }


class ElboGradient:
    """The gradient of the sum of a stack's negative ELBOs, of each source apart where this is asked for.

    Weights of KL divergences may differ from the ELBO's 1 (:meth:`backward`).

    Parameters
    ----------
    model
        The stack.
    flat
        Its parameters (E, P).
    apart
        Whether the sources' gradients are kept apart.

    Attributes
    ----------
    together
        Gradient (E, P), less what is kept apart.
    apart
        Gradient of each source (E, K, P) by the parameters that several sources use, zero elsewhere; None
        if sources are not kept apart. Both are overwritten in the next step.
    """

    def __init__(self, model: ComparativeVAE, flat: Tensor, apart: bool = False) -> None:
        self.model = model
        self.together = torch.zeros_like(flat)
        self._together = _Places(model, self.together)
        sources = model.design.sources
        self.apart = flat.new_zeros(flat.shape[0], len(sources), flat.shape[1]) if apart else None
        self._apart: dict[str, _Places] = {}
        if self.apart is not None and len(sources) > 1:
            self._apart = {s: _Places(model, self.apart[:, k]) for k, s in enumerate(sources)}
        # Encoders kept apart, but with gradients of what is added to the losses in `together`.
        self._written: set[str] = set()
        self._likelihood = {name: p.detach() for name, p in model.likelihood_parameters.items()}
        self._shares: tuple[dict[str, slice], Tensor] | None = None
        self._last: tuple[Batch, PassTrace, Tensor] | None = None

    @torch.inference_mode()
    def forward(self, batch: Batch, noise: Mapping[str, Tensor], inactive: bool = False) -> Pass:
        """What ``model(batch, noise, inactive)`` gives; :meth:`backward` is about the latest."""
        trace = self.model.traced(batch, noise, inactive)
        log_prob, gradient = batch.constant.new_empty(batch.constant.shape), trace.output
        shares = self._row_shares(batch)
        for rows, places in self._groups(batch.rows, self.model.design.sources):
            values, by_output, by_parameters = self.model.likelihood.log_prob_and_gradients(
                batch.x[:, rows], trace.output[:, rows], batch.library[:, rows], self._likelihood,
                -shares[rows],
            )  # fmt: skip
            log_prob[:, rows] = values
            if rows == EVERY:
                gradient = by_output
            elif by_output.data_ptr() != gradient[:, rows].data_ptr():
                gradient[:, rows] = by_output
            for name, by_parameter in by_parameters.items():
                places.likelihood[name].copy_(by_parameter)
        self._last = batch, trace, gradient
        return self.model.summed_up(batch, trace, log_prob)

    @torch.inference_mode()
    def backward(self, pulls: Pulls | None = None, kl_weights: Mapping[str, Tensor] | None = None) -> None:
        """Fill :attr:`together` and :attr:`apart`.

        Parameters
        ----------
        pulls
            Gradients by the posteriors of what is added to the losses. They belong to no single source, so
            what follows from them is not kept apart.
        kl_weights
            Factor of a block's KL divergences in all losses, block to (E,); 1 where it is not there.
        """
        if self._last is None:
            raise RuntimeError("a gradient needs a forward pass before it")
        batch, trace, by_output = self._last
        self._last = None  # the likelihood's gradient may lie where the output did
        groups = self._groups(batch.rows, self.model.design.sources)
        into = [(rows, places.decoder) for rows, places in groups]
        by_latents = self.model.decoder.pull(trace.decoder, by_output, into, to_input=True)
        assert by_latents is not None
        if trace.twist is not None:
            leaf, entered = trace.twist
            with torch.inference_mode(False):
                by_entered = by_latents[:, : entered.shape[1]].clone()  # less the rows of covariates
                (by_latents,) = torch.autograd.grad(entered, leaf, by_entered)
        for block in self.model.design.blocks:
            if block in trace.blocks:
                weight = (kl_weights or {}).get(block)
                self._encoder_backward(block, trace.blocks[block], batch, by_latents, pulls or {}, weight)
            else:
                self._erase(block)

    def _encoder_backward(
        self,
        block: str,
        trace: BlockTrace,
        batch: Batch,
        by_latents: Tensor,
        pulls: Pulls,
        kl_weight: Tensor | None,
    ) -> None:
        """Gradients of one block's encoder."""
        encoder, users = _network(self.model.encoders[block]), self.model.design.blocks[block]
        seen = {s: r for s, r in trace.rows.items() if s in users}
        by_sample = by_latents[:, trace.columns]
        share = self._row_shares(batch)
        if seen != batch.rows:
            by_sample, share = _seen_alone(by_sample, share, trace.rows, batch.rows, users)
        if kl_weight is not None:
            share = share * kl_weight[:, None, None]
        gradient = trace.posterior.pull_bound(by_sample, share)
        own = [(r, pulls[s, block]) for s, r in trace.rows.items() if (s, block) in pulls]
        added = trace.posterior.pull(own) if own else None
        together = self._together.encoders[block]
        groups = self._groups(seen, users)
        if groups == [(EVERY, self._together)]:
            total = gradient if added is None else gradient.add_(added)
            encoder.pull(trace.encoder, total.mT, [(EVERY, together)])
            return
        into = [(rows, places.encoders[block]) for rows, places in groups]
        encoder.pull(trace.encoder, gradient.mT, into)
        if added is not None:
            encoder.pull(trace.encoder, added.mT, [(EVERY, together)])
            self._written.add(block)
        elif block in self._written:
            self._erase(block)

    def _erase(self, block: str) -> None:
        """Set what an encoder has in :attr:`together` to zero."""
        for place in itertools.chain(*self._together.encoders[block]):
            place.zero_()
        self._written.discard(block)

    def _groups(self, rows: Mapping[str, slice], users: Sequence[str]) -> list[tuple[slice, _Places]]:
        """Groups of rows whose gradients go to one place."""
        if not self._apart or len(users) == 1:
            return [(EVERY, self._together)]
        return [(r, self._apart[s]) for s, r in rows.items()]

    def _row_shares(self, batch: Batch) -> Tensor:
        """Weight of each row in the sum of the sources' means (B,)."""
        if self._shares is None or self._shares[0] != batch.rows:
            sizes = [r.stop - r.start for r in batch.rows.values()]
            shares = [batch.x.new_full((size,), 1.0 / size) for size in sizes]
            self._shares = dict(batch.rows), torch.cat(shares)
        return self._shares[1]


def _seen_alone(
    by_latents: Tensor,
    share: Tensor,
    seen: Mapping[str, slice],
    rows: Mapping[str, slice],
    users: Sequence[str],
) -> tuple[Tensor, Tensor]:
    """Gradients by samples, and weights, of the rows that an encoder saw; 0 where the block is inactive."""
    parts = [(by_latents[..., rows[s]], share[rows[s]], s in users) for s in seen]
    return (
        torch.cat([g if active else torch.zeros_like(g) for g, _, active in parts], dim=-1),
        torch.cat([w if active else torch.zeros_like(w) for _, w, active in parts]),
    )


def _network(module: nn.Module) -> StackedMLP:
    return cast("StackedMLP", module)
