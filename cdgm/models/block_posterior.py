"""The posterior of one block for all rows that its encoder sees, and its gradient by hand.

Rows are the last axis here, (E, d, B): blocks have few dimensions, and operations along long axes are fast.
"""

# Torch's own types are partial (chunk).
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from cdgm.models.stacks import Trace

# Posterior log-variances are kept in a range in which exp() is harmless in float32.
LOG_VARIANCE_RANGE = (-14.0, 6.0)


@dataclass(frozen=True)
class Pull:
    """Gradient of something by the posterior of one block in one source; None where it does not depend.

    Attributes
    ----------
    mean, log_variance, sample
        By what a :class:`Posterior` holds (E, B_k, d).
    kl
        By the KL divergence from the prior, mean over the source's rows (E,).
    """

    mean: Tensor | None = None
    log_variance: Tensor | None = None
    sample: Tensor | None = None
    kl: Tensor | None = None


class BlockPosterior:
    """Diagonal Gaussian posteriors of one block, with a sample of each row.

    Parameters
    ----------
    output
        Output of the block's encoder (E, 2 d, B): means, then log-variances, which are clamped.
    noise
        Standard normal numbers (E, B, d).

    Attributes
    ----------
    mean, log_variance, sample
        (E, d, B).
    """

    def __init__(self, output: Tensor, noise: Tensor) -> None:
        self.mean, self._unclamped = output.chunk(2, dim=1)
        self.log_variance = self._unclamped.clamp(*LOG_VARIANCE_RANGE)
        sd = self.log_variance.mul(0.5).exp_()
        # Variance less that of the prior; a sample less its mean.
        self._excess = sd.square().sub_(1.0)
        self._spread = sd.mul_(noise.mT)
        self.sample = self.mean + self._spread

    def divergence(self) -> Tensor:
        """KL divergence of each row's posterior from N(0, I), (E, B) in nats."""
        terms = self.mean.square().add_(self._excess).sub_(self.log_variance)
        return terms.sum(1).mul_(0.5)

    def rows(self, rows: slice) -> tuple[Tensor, ...]:
        """Means, log-variances and samples (E, B_k, d) of some of the rows."""
        return self.mean[..., rows].mT, self.log_variance[..., rows].mT, self.sample[..., rows].mT

    def pull_bound(self, by_sample: Tensor, share: Tensor) -> Tensor:
        """Gradient (E, 2 d, B) by the encoder's output of a negative ELBO.

        Parameters
        ----------
        by_sample
            Its gradient by the samples (E, d, B).
        share
            Weight of each row's KL divergence, (B,) or (E, 1, B).
        """
        gradient = self._like_output()
        by_mean, by_log_variance = self._halves(gradient)
        by_mean.addcmul_(self.mean, share).add_(by_sample)
        by_log_variance.addcmul_(self._excess, share).addcmul_(by_sample, self._spread).mul_(0.5)
        return self._clamped(gradient)

    def pull(self, parts: Sequence[tuple[slice, Pull]]) -> Tensor:
        """Gradient (E, 2 d, B) by the encoder's output, from those by the posteriors of groups of rows."""
        gradient = self._like_output()
        for rows, pull in parts:
            by_mean, by_log_variance = (half[..., rows] for half in self._halves(gradient))
            if pull.mean is not None:
                by_mean.add_(pull.mean.mT)
            if pull.log_variance is not None:
                by_log_variance.add_(pull.log_variance.mT)
            if pull.sample is not None:
                by_mean.add_(pull.sample.mT)
                by_log_variance.addcmul_(pull.sample.mT, self._spread[..., rows], value=0.5)
            if pull.kl is not None:
                share = (pull.kl / (rows.stop - rows.start))[:, None, None]
                by_mean.addcmul_(self.mean[..., rows], share)
                by_log_variance.addcmul_(self._excess[..., rows], share, value=0.5)
        return self._clamped(gradient)

    def _like_output(self) -> Tensor:
        members, d, rows = self.mean.shape
        return self.mean.new_zeros(members, 2 * d, rows)

    def _clamped(self, gradient: Tensor) -> Tensor:
        """No gradient goes through a log-variance that was clamped."""
        self._halves(gradient)[1].mul_(self._unclamped == self.log_variance)
        return gradient

    def _halves(self, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """Parts (E, d, B) of a gradient by the encoder's output: those by means and by log-variances."""
        d = self.mean.shape[1]
        return gradient[:, :d], gradient[:, d : 2 * d]


@dataclass(frozen=True)
class BlockTrace:
    """One block in a pass.

    Attributes
    ----------
    posterior
        Its posterior for all rows that its encoder sees.
    encoder
        Trace of the encoder.
    columns
        Its place among the latents.
    rows
        For each source seen, where its rows lie among those.
    """

    posterior: BlockPosterior
    encoder: Trace
    columns: slice
    rows: dict[str, slice]
