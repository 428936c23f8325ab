"""The comparative VAE: one encoder a latent block, one decoder, any design of sources and blocks."""

# Torch's own types are partial (split, named_modules).
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from cdgm.config.fit import ModelSpec
from cdgm.models.stacks import StackedLinear, StackedMLP

# Posterior log-variances are kept in a range in which exp() is harmless in float32.
LOG_VARIANCE_RANGE = (-14.0, 6.0)


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
    """

    x: Tensor
    library: Tensor
    constant: Tensor
    rows: dict[str, slice]


@dataclass(frozen=True)
class Posterior:
    """Diagonal Gaussian posterior of one block for the rows of one source, with a sample of each row.

    Of the underlying Gaussian where the posterior is twisted. All (E, B_k, d).
    """

    mean: Tensor
    log_variance: Tensor
    sample: Tensor


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


class ComparativeVAE(nn.Module):
    """A stack of E comparative VAEs.

    For a source with active blocks A: u_b ~ N(0, I) for b in A and u_b = 0 otherwise, x ~ p(x | f(u)),
    q(u_b | x) a diagonal Gaussian from block b's own encoder. Its objective (Kingma & Welling 2014, one
    for each source) is
    ``E_q log p(x | f(u)) - sum over b in A of KL(q(u_b | x) || N(0, I))``.

    Parameters
    ----------
    spec
        Architecture, design and dimensions.
    n_features
        Number of observed features D.
    n_members
        Number of members E.
    """

    def __init__(self, spec: ModelSpec, n_features: int, n_members: int) -> None:
        super().__init__()
        self.spec, self.n_features, self.n_members = spec, n_features, n_members
        self.design, self.likelihood = spec.design, spec.likelihood
        self.encoders = nn.ModuleDict(
            {
                block: StackedMLP(
                    n_members, n_features, spec.encoder_hidden, 2 * spec.dims[block], spec.encoder_activation
                )
                for block in self.design.blocks
            }
        )
        self.decoder = StackedMLP(
            n_members, sum(spec.dims.values()), spec.decoder_hidden, n_features, spec.decoder_activation
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

    def block_means(self, x: Tensor, source: str) -> dict[str, Tensor]:
        """Posterior means (E, B, d) of every block for observations (E, B, D) of one source.

        A block that is inactive in the source is given too, as its encoder sees these rows: useful
        to look at, no part of the model. Under a twisted posterior it is the twisted mean.
        """
        h = self.likelihood.encoder_input(x)
        means = {block: self._encode(block, h)[0] for block in self.design.blocks}
        if self.spec.posterior == "twisted" and self.spec.twist is not None:
            active = self.design.active(source)
            zeroed = {b: m if b in active else torch.zeros_like(m) for b, m in means.items()}
            means = means | {
                self.spec.twist.block: self.spec.twist.apply(zeroed, torch)[self.spec.twist.block]
            }
        return means

    def _encode(self, block: str, h: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = self.encoders[block](h).chunk(2, dim=-1)
        return mean, log_variance.clamp(*LOG_VARIANCE_RANGE)

    def decode(self, latents: dict[str, Tensor]) -> Tensor:
        """Decoder outputs f(u) (E, B, D) for latents, block to (E, B, d); all blocks are needed."""
        if self.spec.twist is not None:
            # f = net o T^-1: this decoder's latents are the twisted ones (cdgm.config.latent_twist).
            latents = self.spec.twist.apply(latents, torch, inverse=True)
        return self.decoder(torch.cat([latents[block] for block in self.design.blocks], dim=-1))

    def forward(self, batch: Batch, noise: Mapping[str, Tensor], inactive: bool = False) -> Pass:
        """ELBO of each source on a batch, with one posterior sample a row.

        Parameters
        ----------
        batch
            The rows, of all sources or of some.
        noise
            Standard normal numbers for each block (E, rows of :meth:`encoded`, d).
        inactive
            Whether to look at inactive blocks too.
        """
        h = self.likelihood.encoder_input(batch.x)
        posteriors: dict[tuple[str, str], Posterior] = {}
        kl: dict[tuple[str, str], Tensor] = {}
        latents: dict[str, Tensor] = {}
        for block, active in self.design.blocks.items():
            sources = [source for source in self.encoded(block, inactive) if source in batch.rows]
            if not sources:
                latents[block] = self._fill(block, batch, posteriors)
                continue
            rows = [batch.rows[source] for source in sources]
            seen = h if len(rows) == len(batch.rows) else torch.cat([h[:, r] for r in rows], dim=1)
            mean, log_variance = self._encode(block, seen)
            sample = mean + (0.5 * log_variance).exp() * noise[block]
            sizes = [r.stop - r.start for r in rows]
            whole = Posterior(mean, log_variance, sample)
            # Split once everything of the block is formed: a step is many small operations.
            pieces = zip(
                sources,
                *(v.split(sizes, 1) for v in (divergence(whole), mean, log_variance, sample)),
                strict=True,
            )
            for source, rows_kl, *parts in pieces:
                posteriors[source, block] = Posterior(*parts)
                if source in active:
                    kl[source, block] = rows_kl.mean(1)
            everywhere = all(source in active for source in batch.rows)
            latents[block] = sample if everywhere else self._fill(block, batch, posteriors)
        if self.spec.posterior == "twisted" and self.spec.twist is not None:
            latents = self.spec.twist.apply(latents, torch)
        log_prob = self.likelihood.log_prob(
            batch.x, self.decode(latents), batch.library, dict(self.likelihood_parameters)
        )
        log_prob = log_prob + batch.constant
        elbo = torch.stack(
            [
                log_prob[:, rows].mean(1) - sum(kl[source, block] for block in self.design.active(source))
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

    def _fill(self, block: str, batch: Batch, posteriors: Posteriors) -> Tensor:
        """Samples of ``block`` for all rows: zeros where it is inactive."""
        parts: list[Tensor] = []
        for source, r in batch.rows.items():
            if source in self.design.blocks[block]:
                parts.append(posteriors[source, block].sample)
            else:
                shape = (self.n_members, r.stop - r.start, self.spec.dims[block])
                parts.append(batch.x.new_zeros(shape))
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


def divergence(posterior: Posterior) -> Tensor:
    """KL divergence of each row's posterior from N(0, I), (E, B_k) in nats."""
    mean, log_variance = posterior.mean, posterior.log_variance
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(-1)
