"""The comparative VAE: one encoder a latent block, one decoder, any design of sources and blocks."""

# Torch's own types are partial (split, named_modules).
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from cdgm.config.model import ModelSpec
from cdgm.models.block_posterior import BlockPosterior, BlockTrace
from cdgm.models.full_posterior import FullPosterior, full_width, joint_noise
from cdgm.models.stacks import StackedLinear, StackedMLP, Trace


@dataclass(frozen=True)
class Batch:
    """Rows of all sources, source after source.

    Attributes
    ----------
    x
        Observations (E, B, D).
    library
        Library size of each row (E, B, 1); ones where the likelihood has none.
    constant
        Parameter-free part of each row's log-probability (E, B).
    rows
        For each source, where its rows lie in B.
    covariates
        Covariates of each row (E, B, C); None without.
    masks
        Dropout of the hidden layers of each network, ``encoders.<block>`` or ``decoder``
        (:meth:`cdgm.models.hidden_layers.AfterLinear.apply`), for the rows that the network sees; None
        without, as always outside of training.
    """

    x: Tensor
    library: Tensor
    constant: Tensor
    rows: dict[str, slice]
    covariates: Tensor | None = None
    masks: Mapping[str, Sequence[Tensor]] | None = None


@dataclass(frozen=True)
class Posterior:
    """Gaussian posterior of one block for the rows of one source, with a sample of each row.

    Of the underlying Gaussian where the posterior is twisted. Mean, marginal log-variance and sample are
    (E, B_k, d). ``dependence`` (E, B_k) is what the KL divergence has beyond that of the marginals, in nats;
    None where the posterior has no correlations. ``covariates`` (E, B_k, C) are those of the rows; None in a
    model without.
    """

    mean: Tensor
    log_variance: Tensor
    sample: Tensor
    dependence: Tensor | None = None
    covariates: Tensor | None = None


Posteriors = Mapping[tuple[str, str], Posterior]
"""Posteriors by (source, block)."""


@dataclass(frozen=True)
class Pass:
    """Results of one pass of a batch; penalties and constraints are functions of them.

    Attributes
    ----------
    elbo
        Evidence lower bound of each source (K, E): nats, mean over its rows.
    kl
        KL divergence of each (source, active block) from the prior (E,): nats, mean over rows.
    posteriors
        Posterior of each (source, active block).
    inactive
        Posterior of each (source, inactive block) by that block's encoder; computed on demand, and no part
        of the ELBO.
    """

    elbo: Tensor
    kl: dict[tuple[str, str], Tensor]
    posteriors: dict[tuple[str, str], Posterior]
    inactive: dict[tuple[str, str], Posterior]


@dataclass(frozen=True)
class PassTrace:
    """What the networks leave of a pass.

    Attributes
    ----------
    blocks
        Each block whose encoder saw rows.
    decoder
        Trace of the decoder's network.
    output
        The decoder's outputs f(u) (E, B, D).
    twist
        Samples (E, sum of d, B) and what the decoder's network saw of them, with the graph between; None
        where that is the same.
    """

    blocks: dict[str, BlockTrace]
    decoder: Trace
    output: Tensor
    twist: tuple[Tensor, Tensor] | None


class ComparativeVAE(nn.Module):
    """A stack of E comparative VAEs.

    For a source with active blocks A: u_b ~ N(0, I) for b in A and u_b = 0 otherwise, x ~ p(x | f(u)),
    q(u_b | x) a Gaussian from block b's own encoder, diagonal unless the spec says otherwise. Its objective
    (Kingma & Welling 2014, one for each source) is
    ``E_q log p(x | f(u)) - sum over b in A of KL(q(u_b | x) || N(0, I))``.
    With covariates c it is conditional on them: x ~ p(x | f(u, c)), and q(u_b | x, c) where encoders see them
    (Sohn et al. 2015; as the batch in scVI, Lopez et al. 2018). They enter the first layer of a network.

    Parameters
    ----------
    spec
        Architecture, design and dimensions.
    n_features
        Number of observed features D.
    n_members
        Number of members E.
    n_covariates
        Number C of columns of the covariates; a categorical one has a column for each category.
    """

    def __init__(self, spec: ModelSpec, n_features: int, n_members: int, n_covariates: int = 0) -> None:
        super().__init__()
        if bool(spec.covariates) != bool(n_covariates):
            raise ValueError(f"got {n_covariates} columns of the covariates {spec.covariates}")
        self.spec, self.n_features, self.n_members = spec, n_features, n_members
        self.n_covariates = n_covariates
        self.design, self.likelihood = spec.design, spec.likelihood
        self.encoders = nn.ModuleDict(
            {
                block: StackedMLP(
                    n_members,
                    n_features + n_covariates * spec.encode_covariates,
                    spec.encoder_hidden,
                    self._width(block),
                    spec.encoder_activation,
                    spec.hidden_norm,
                )
                for block in self.design.blocks
            }
        )
        self.decoder = StackedMLP(
            n_members,
            sum(spec.dims.values()) + n_covariates,
            spec.decoder_hidden,
            n_features,
            spec.decoder_activation,
            spec.hidden_norm,
        )
        self.likelihood_parameters = nn.ParameterDict(
            self.likelihood.initial_parameters(n_members, n_features)
        )

    def reset(self, streams: Callable[[str, tuple[int, int]], Sequence[np.random.Generator]]) -> None:
        """Draw start values layer by layer.

        Parameters
        ----------
        streams
            Gives the members' generators (E) for the name of a layer and its sizes (in, out).
        """
        for name, layer in self.named_modules():
            if isinstance(layer, StackedLinear):
                _, n_in, n_out = layer.weight.shape
                layer.reset(streams(name, (n_in, n_out)))

    def block_means(self, x: Tensor, source: str, covariates: Tensor | None = None) -> dict[str, Tensor]:
        """Posterior means (E, B, d) of every block for observations (E, B, D) of one source.

        A block that is inactive in the source is given too, as its encoder sees these rows: useful
        to look at, no part of the model. Under a twisted posterior it is the twisted mean. Covariates
        (E, B, C) are needed where encoders see them.
        """
        h = self.encoder_input(x, covariates)
        means = {block: self.encoders[block](h)[..., : self.spec.dims[block]] for block in self.design.blocks}
        if self.spec.posterior == "twisted" and self.spec.twist is not None:
            active = self.design.active(source)
            zeroed = {b: m if b in active else torch.zeros_like(m) for b, m in means.items()}
            means = means | {
                self.spec.twist.block: self.spec.twist.apply(zeroed, torch)[self.spec.twist.block]
            }
        return means

    def decode(self, latents: dict[str, Tensor], covariates: Tensor | None = None) -> Tensor:
        """Decoder outputs f(u, c) (E, B, D) for latents, block to (E, B, d), and covariates (E, B, C).

        All blocks are needed, and the covariates of a model that has some.
        """
        return self.decoder(self._decoder_input(self._joined(latents), covariates))

    def encoder_input(self, x: Tensor, covariates: Tensor | None) -> Tensor:
        """What encoders see of rows (E or 1, B, D) and, where they do, of their covariates (E, B, C)."""
        h = self.likelihood.encoder_input(x)
        if not self.spec.encode_covariates:
            return h
        return self._with_covariates(h, covariates)

    def _decoder_input(self, latents: Tensor, covariates: Tensor | None) -> Tensor:
        return self._with_covariates(latents, covariates) if self.n_covariates else latents

    def _with_covariates(self, inputs: Tensor, covariates: Tensor | None) -> Tensor:
        if covariates is None or covariates.shape[-1] != self.n_covariates:
            found = None if covariates is None else tuple(covariates.shape)
            raise ValueError(f"expected {self.n_covariates} columns of covariates, got {found}")
        return torch.cat([inputs, covariates], dim=-1)

    def forward(self, batch: Batch, noise: Mapping[str, Tensor], inactive: bool = False) -> Pass:
        """ELBO of each source on a batch, with one posterior sample a row; it records no graph.

        Parameters
        ----------
        batch
            The rows, of all sources or of some.
        noise
            Standard normal numbers for each block (E, rows of :meth:`encoded`, d).
        inactive
            Whether to look at inactive blocks too.
        """
        with torch.no_grad():
            trace = self.traced(batch, noise, inactive)
            parameters = dict(self.likelihood_parameters)
            log_prob = self.likelihood.log_prob(batch.x, trace.output, batch.library, parameters)
            return self.summed_up(batch, trace, log_prob)

    def traced(self, batch: Batch, noise: Mapping[str, Tensor], inactive: bool = False) -> PassTrace:
        """The networks' part of :meth:`forward`, with all that its gradient needs."""
        h = self.encoder_input(batch.x, batch.covariates)
        members, total = batch.x.shape[:2]
        latents = h.new_zeros(members, sum(self.spec.dims.values()), total)
        blocks: dict[str, BlockTrace] = {}
        masks = batch.masks or {}
        start = 0
        for block, active in self.design.blocks.items():
            columns = slice(start, start + self.spec.dims[block])
            start = columns.stop
            rows = {s: batch.rows[s] for s in self.encoded(block, inactive) if s in batch.rows}
            if not rows:
                continue
            output, trace = self._encoder(block).traced(
                _rows(h, list(rows.values())), rows_last=True, masks=masks.get(f"encoders.{block}", ())
            )
            posterior = self._posterior(block, output, noise, batch, inactive)
            seen = rows_of({source: r.stop - r.start for source, r in rows.items()})
            blocks[block] = BlockTrace(posterior, trace, columns, seen)
            for source in active:
                if source in rows:
                    latents[:, columns, rows[source]] = posterior.sample[..., seen[source]]
        entered, twisted = self._twisted(latents)
        output, trace = self.decoder.traced(
            self._decoder_input(entered.mT, batch.covariates), masks=masks.get("decoder", ())
        )
        return PassTrace(blocks, trace, output, twisted)

    def summed_up(self, batch: Batch, trace: PassTrace, log_prob: Tensor) -> Pass:
        """The pass of a batch from its trace and log-probabilities (E, B) without constants."""
        log_prob = log_prob + batch.constant
        posteriors: dict[tuple[str, str], Posterior] = {}
        kl: dict[tuple[str, str], Tensor] = {}
        for block, found in trace.blocks.items():
            divergences = found.posterior.divergence()
            for source, rows in found.rows.items():
                known = None if batch.covariates is None else batch.covariates[:, batch.rows[source]]
                posteriors[source, block] = Posterior(*found.posterior.rows(rows), covariates=known)
                if source in self.design.blocks[block]:
                    kl[source, block] = divergences[:, rows].mean(1)
        elbo = torch.stack(
            [
                reduce(
                    torch.sub,
                    (kl[source, block] for block in self.design.active(source)),
                    log_prob[:, rows].mean(1),
                )
                for source, rows in batch.rows.items()
            ]
        )
        return Pass(
            elbo=elbo,
            kl=kl,
            posteriors={key: p for key, p in posteriors.items() if key in kl},
            inactive={key: p for key, p in posteriors.items() if key not in kl},
        )

    def encoded(self, block: str, inactive: bool = False) -> tuple[str, ...]:
        """Sources whose rows the encoder of ``block`` sees, in the order of its noise."""
        return self.design.sources if inactive else self.design.blocks[block]

    def _width(self, block: str) -> int:
        """Number of outputs of a block's encoder."""
        if self.spec.posterior == "full_covariance":
            return full_width(self.design, self.spec.dims, block)
        return 2 * self.spec.dims[block]

    def _posterior(
        self, block: str, output: Tensor, noise: Mapping[str, Tensor], batch: Batch, inactive: bool
    ) -> BlockPosterior:
        """Posterior of a block for the rows that its encoder saw."""
        if self.spec.posterior != "full_covariance":
            return BlockPosterior(output, noise[block])
        seen = {b: [s for s in self.encoded(b, inactive) if s in batch.rows] for b in self.design.blocks}
        sizes = {source: rows.stop - rows.start for source, rows in batch.rows.items()}
        return FullPosterior(
            output, joint_noise(self.design, block, noise, seen, sizes), self.spec.dims[block]
        )

    def _encoder(self, block: str) -> StackedMLP:
        return cast("StackedMLP", self.encoders[block])

    def _twisted(self, latents: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor] | None]:
        """What the decoder's network sees of samples (E, sum of d, B), and the graph between both if any."""
        if self.spec.twist is None:
            return latents, None
        with torch.inference_mode(False), torch.enable_grad():  # rare and small, so autograd does it
            leaf = latents.clone().requires_grad_()
            sizes = [self.spec.dims[block] for block in self.design.blocks]
            parts = dict(zip(self.design.blocks, leaf.mT.split(sizes, dim=-1), strict=True))
            if self.spec.posterior == "twisted":
                parts = self.spec.twist.apply(parts, torch)
            entered = self._joined(parts).mT
        return entered.detach(), (leaf, entered)

    def _joined(self, latents: dict[str, Tensor]) -> Tensor:
        """Input of the decoder's network (E, B, sum of d) for latents, block to (E, B, d)."""
        if self.spec.twist is not None:
            # f = net o T^-1: this decoder's latents are the twisted ones (cdgm.config.latent_twist).
            latents = self.spec.twist.apply(latents, torch, inverse=True)
        return torch.cat([latents[block] for block in self.design.blocks], dim=-1)


def _rows(h: Tensor, rows: list[slice]) -> Tensor:
    """Rows of the encoders' input (E, B, D), without a copy where they are neighbours."""
    if all(a.stop == b.start for a, b in itertools.pairwise(rows)):
        return h[:, rows[0].start : rows[-1].stop]
    return torch.cat([h[:, r] for r in rows], dim=1)


def rows_of(sizes: Mapping[str, int]) -> dict[str, slice]:
    """Where each source's rows lie when the sources are laid end to end."""
    rows: dict[str, slice] = {}
    start = 0
    for source, size in sizes.items():
        rows[source] = slice(start, start + size)
        start += size
    return rows


def divergence(posterior: Posterior) -> Tensor:
    """KL divergence of each row's posterior from N(0, I), (E, B_k) in nats."""
    mean, log_variance = posterior.mean, posterior.log_variance
    apart = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(-1)
    return apart if posterior.dependence is None else apart + posterior.dependence
