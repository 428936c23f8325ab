r"""Posterior means under the *true* model of a simulation, by importance sampling.

The best that any method could infer of a point's latents if it knew the mixing, the noise and the prior. The
score of these means is a ceiling for the scores of fits on the same points.

For a point x with density :math:`\pi(u) \propto p(u) p(x | f(u))` and a proposal q, self-normalised
importance sampling
(Owen 2013, ch. 9) gives the mean as :math:`\sum_s w_s u_s`, with weights
:math:`w_s \propto \pi(u_s) / q(u_s)` that sum to 1. The effective number of draws is
:math:`1 / \sum_s w_s^2`. The proposal is a mixture of Student's t distributions, whose tails are heavier
than those of :math:`\pi`. Components are placed at modes that Fisher scoring finds from several start
points, and moved once to mean and covariance of a first round of weighted draws (Cappé et al. 2004).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cdgm.config.simulation import Simulation
from cdgm.simulation.mixings.base import MixingFunction
from cdgm.simulation.noises.base import Noise
from cdgm.simulation.simulate import noise_in, split_blocks

#: Start points of the search for modes: the best of so many draws of the latents' distribution.
STARTS = 2
CANDIDATES = 200
SCORING_STEPS = 12
#: Degrees of freedom of the proposal, and how much wider it is than what it is fitted to.
TAILS = 5.0
WIDENING = 1.2
#: Points of a chunk, and numbers of a signal that are formed at once: few enough for the cache.
CHUNK_POINTS = 100
CHUNK_NUMBERS = 200_000
#: Points that share standard draws.
SHARING_POINTS = 20
#: Error of a log-weight that is borne: draws are in single precision unless its rounding adds up to more.
BORNE_ROUNDING = 0.01
#: Scoring of a point ends when its log-density rises by less.
SMALL_RISE = 0.01
_STEP = 1e-4


@dataclass(frozen=True)
class PosteriorMeans:
    """Of n points of one source.

    Attributes
    ----------
    means
        Posterior mean of each active block, block to (n, d).
    effective
        Effective number of draws behind each (n,).
    """

    means: dict[str, np.ndarray]
    effective: np.ndarray


def true_posterior_means(
    spec: Simulation,
    decode: MixingFunction,
    source: str,
    x: np.ndarray,
    draws: int,
    rng: np.random.Generator,
) -> PosteriorMeans:
    """Posterior means of the latents of points of one source.

    Parameters
    ----------
    spec
        The simulation: noise and distribution of latents.
    decode
        The replicate's :func:`~cdgm.simulation.simulate.true_decoder`.
    source
        Where the points are from.
    x
        Points (n, features).
    draws
        Draws a point in the last round, which alone enters the means.
    rng
        Source of the draws.
    """
    target = _Target(spec, decode, source)
    x = np.asarray(x, dtype=np.float64)
    chunks = range(0, len(x), CHUNK_POINTS)
    parts = [_chunk_means(target, x[i : i + CHUNK_POINTS], draws, rng) for i in chunks]
    joined = np.concatenate([means for means, _ in parts])
    blocks = split_blocks(spec, source, joined)
    return PosteriorMeans(
        {block: blocks[block] for block in spec.design.active(source)},
        np.concatenate([effective for _, effective in parts]),
    )


@dataclass(frozen=True)
class _Target:
    """Unnormalised posterior of the active latents, (..., d) side by side, given a point."""

    spec: Simulation
    decode: MixingFunction
    source: str

    @property
    def noise(self) -> Noise:
        return noise_in(self.spec, self.source)

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        return self.spec.latents.moments(self.spec.design, self.spec.dims, self.source)

    def signal(self, latents: np.ndarray) -> np.ndarray:
        flat = latents.reshape(-1, latents.shape[-1])
        signal = self.decode(split_blocks(self.spec, self.source, flat))
        return signal.reshape(*latents.shape[:-1], -1)

    def log_prior(self, latents: np.ndarray) -> np.ndarray:
        return self.spec.latents.log_density(latents, self.spec.design, self.spec.dims, self.source)

    def log_likelihood(self, latents: np.ndarray, x: np.ndarray) -> np.ndarray:
        """(n, draws) for latents (n, draws, d) and points (n, features), a few points at a time."""
        n, draws, _ = latents.shape
        value = np.empty((n, draws), dtype=latents.dtype)
        size = max(1, CHUNK_NUMBERS // (draws * x.shape[1]))
        for start in range(0, n, size):
            some = slice(start, start + size)
            value[some] = self.noise.log_likelihood(x[some], self.signal(latents[some]))
        return value

    def log_density(self, latents: np.ndarray, x: np.ndarray) -> np.ndarray:
        """(n, draws), as :meth:`log_likelihood`."""
        return self.log_prior(latents) + self.log_likelihood(latents, x)

    def jacobian(self, latents: np.ndarray) -> np.ndarray:
        """Of the signal, (n, features, d), by central differences."""
        steps = _STEP * np.eye(latents.shape[1])
        return np.stack(
            [(self.signal(latents + h) - self.signal(latents - h)) / (2 * _STEP) for h in steps], axis=-1
        )


@dataclass(frozen=True)
class _Mixture:
    """A mixture of C multivariate t distributions for each point.

    Centres (n, C, d), lower roots of the scale matrices (n, C, d, d), weights (n, C).
    """

    centres: np.ndarray
    roots: np.ndarray
    weights: np.ndarray

    def astype(self, kind: type[np.floating]) -> _Mixture:
        """In another precision, which is that of draws too."""
        return _Mixture(*(v.astype(kind) for v in (self.centres, self.roots, self.weights)))

    def draw(self, draws: int, rng: np.random.Generator) -> np.ndarray:
        """(n, draws, d); components in turn, in proportion to their weights."""
        n, components, d = self.centres.shape
        kind = self.centres.dtype.type
        # Neighbouring points share standard draws: making them would cost as much as weighting them. Each
        # point has its own centres and scales, so its error is what it would be with draws of its own.
        standard = rng.standard_normal((-(-n // SHARING_POINTS), draws, d), dtype=kind)
        # A chi-square variable is two gamma ones of half the degrees of freedom.
        standard *= np.sqrt(
            0.5 * TAILS / rng.standard_gamma(0.5 * TAILS, (*standard.shape[:2], 1), dtype=kind)
        )
        # Systematic choice of components: shares are met up to one draw.
        ends = np.cumsum(self.weights, axis=1) * draws - rng.random((n, 1))
        ends = np.clip(np.floor(ends).astype(int) + 1, 0, draws)
        ends[:, -1] = draws
        drawn = np.empty((n, draws, d), dtype=kind)
        for point in range(n):
            start = 0
            for c in range(components):
                own = slice(start, start := ends[point, c])
                moved = standard[point // SHARING_POINTS, own] @ self.roots[point, c].T
                np.add(moved, self.centres[point, c], out=drawn[point, own])
        return drawn

    def log_density(self, latents: np.ndarray) -> np.ndarray:
        """(n, draws) for latents (n, draws, d), up to a constant."""
        d = latents.shape[-1]
        inverse = np.linalg.inv(self.roots)
        log_scale = np.log(np.abs(np.diagonal(self.roots, axis1=-2, axis2=-1))).sum(axis=-1)
        parts = []
        for c in range(self.weights.shape[1]):
            standard = (latents - self.centres[:, c, None]) @ inverse[:, c].swapaxes(-1, -2)
            kernel = -0.5 * (TAILS + d) * np.log1p(np.einsum("nsd,nsd->ns", standard, standard) / TAILS)
            parts.append(kernel + (np.log(self.weights[:, c]) - log_scale[:, c])[:, None])
        highest = np.maximum.reduce(parts)
        return highest + np.log(sum(np.exp(part - highest) for part in parts))


def _chunk_means(
    target: _Target, x: np.ndarray, draws: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    proposal = _at_modes(target, x, rng)
    if _rounding(target, proposal.centres[:, 0], x) < BORNE_ROUNDING:
        x, proposal = x.astype(np.float32), proposal.astype(np.float32)
    latents, weights = _weighted(target, proposal, x, draws // 2, rng)
    latents, weights = _weighted(target, _moved(proposal, latents, weights), x, draws, rng)
    return (weights[:, None] @ latents)[:, 0], 1 / np.square(weights).sum(axis=1)


def _rounding(target: _Target, latents: np.ndarray, x: np.ndarray) -> float:
    """Largest error of a log-likelihood in single precision, were all roundings as large as they can be."""
    signal = target.signal(latents)
    sizes = np.abs(x * target.noise.natural(signal)) + np.abs(target.noise.partition(signal))
    return float(np.finfo(np.float32).eps * sizes.sum(axis=1).max())


def _weighted(
    target: _Target, proposal: _Mixture, x: np.ndarray, draws: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draws (n, draws, d) and their weights (n, draws), which sum to 1 for each point."""
    latents = proposal.draw(draws, rng)
    log_weights = target.log_density(latents, x) - proposal.log_density(latents)
    log_weights -= log_weights.max(axis=1, keepdims=True)
    weights = np.exp(log_weights, out=log_weights)
    return latents, weights / weights.sum(axis=1, keepdims=True)


def _at_modes(target: _Target, x: np.ndarray, rng: np.random.Generator) -> _Mixture:
    """Laplace's approximation at the modes found from several starts, weighted by its evidence."""
    mean, covariance = target.moments()
    root = np.linalg.cholesky(covariance)
    candidates = mean + rng.standard_normal((CANDIDATES, len(mean))) @ root.T
    signal = target.signal(candidates)
    heights = x @ target.noise.natural(signal).T - target.noise.partition(signal).sum(axis=-1)
    fits = heights + target.log_prior(candidates)
    starts = candidates[np.argsort(-fits, axis=1)[:, :STARTS]]
    centres, roots, evidence = [], [], []
    for c in range(STARTS):
        mode, precision = _mode(target, starts[:, c], x, mean, np.linalg.inv(covariance))
        scale = WIDENING * np.linalg.cholesky(np.linalg.inv(precision))
        log_volume = np.log(np.diagonal(scale, axis1=-2, axis2=-1)).sum(axis=-1)
        centres.append(mode), roots.append(scale)
        evidence.append(target.log_density(mode[:, None], x)[:, 0] + log_volume)
    return _Mixture(np.stack(centres, 1), np.stack(roots, 1), _shares(np.stack(evidence, 1)))


def _shares(log_weights: np.ndarray) -> np.ndarray:
    """Weights that sum to 1, none below a tenth of an equal share: a mode's evidence is a rough guess."""
    weights = np.exp(log_weights - log_weights.max(axis=1, keepdims=True))
    weights = np.maximum(weights / weights.sum(axis=1, keepdims=True), 0.1 / weights.shape[1])
    return weights / weights.sum(axis=1, keepdims=True)


def _mode(
    target: _Target, start: np.ndarray, x: np.ndarray, mean: np.ndarray, prior_precision: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Mode (n, d) and precision (n, d, d) there, by Fisher scoring with steps halved until they help.

    The prior enters by its moments, as if it were normal; the weights make up for it.
    """

    def height(latents: np.ndarray, x: np.ndarray) -> np.ndarray:
        away = latents - mean
        prior = -0.5 * np.einsum("ni,ij,nj->n", away, prior_precision, away)
        return prior + target.log_likelihood(latents[:, None], x)[:, 0]

    def slope(latents: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        signal, jacobian = target.signal(latents), target.jacobian(latents)
        gradient = np.einsum("nfd,nf->nd", jacobian, target.noise.score(x, signal))
        weighted = jacobian * target.noise.information(signal)[..., None]
        precision = jacobian.swapaxes(1, 2) @ weighted + prior_precision
        return gradient - (latents - mean) @ prior_precision, precision

    latents, best = start.copy(), height(start, x)
    rising = np.arange(len(x))
    for _ in range(SCORING_STEPS):
        before, points = best[rising], x[rising]
        gradient, precision = slope(latents[rising], points)
        step = np.linalg.solve(precision, gradient[..., None])[..., 0]
        for _ in range(3):
            there = latents[rising] + step
            value = height(there, points)
            better = value > best[rising]
            latents[rising[better]], best[rising[better]] = there[better], value[better]
            if better.all():
                break
            # A point that has moved stays where it is until its next step is found.
            step = np.where(better[:, None], 0.0, 0.5 * step)
        rising = rising[best[rising] - before > SMALL_RISE]
        if not len(rising):
            break
    return latents, slope(latents, x)[1]


def _moved(proposal: _Mixture, latents: np.ndarray, weights: np.ndarray) -> _Mixture:
    """One more component, at mean and covariance of weighted draws, with half of all weight."""
    mean = (weights[:, None] @ latents)[:, 0]
    away = latents - mean[:, None]
    covariance = (away * weights[..., None]).swapaxes(1, 2) @ away
    # Few effective draws give a poor covariance: then the first component's is nearer to the truth.
    before = proposal.roots[:, 0] @ proposal.roots[:, 0].swapaxes(-1, -2) / WIDENING**2
    trust = 1 / np.square(weights).sum(axis=1)
    trust = (trust / (trust + 2 * latents.shape[-1]))[:, None, None]
    root = WIDENING * np.linalg.cholesky(trust * covariance + (1 - trust) * before)
    return _Mixture(
        np.concatenate([proposal.centres, mean[:, None]], axis=1),
        np.concatenate([proposal.roots, root[:, None]], axis=1),
        np.concatenate([0.5 * proposal.weights, np.full((len(mean), 1), 0.5)], axis=1),
    )
