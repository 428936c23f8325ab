"""How well the sources of cells mix in a latent space.

Neighbours are sought among equally many cells of each source, so that one scale holds for all data sets: with
nine target cells to one background cell, a space that keeps them wholly apart would score a mere 1.1.
All sources are treated alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cdgm.evaluation.metrics.label_scores import balanced_accuracy, knn_accuracy, neighbours

NEIGHBOURS = 50
#: Added to the variances within sources, as a share of their mean: axes of less than this count as empty.
RIDGE = 0.05
# Keeps a collapsed space from a division by 0.
_SMALLEST = 1e-12
#: A class needs this many cells to be called the strongest; a handful of cells tops any list by chance.
SMALLEST_CLASS = 20


@dataclass(frozen=True)
class Neighbourhood:
    """Neighbours of all cells in one space, and what is known of the cells.

    Parameters
    ----------
    nearest
        (n, k) indices of neighbours, all of them in ``pool``.
    pool
        Indices of the cells that may be neighbours, equally many of each source.
    source
        (n,) source of each cell.
    stratum
        (n,) cell type, where known: expectations are then formed within it.
    """

    nearest: np.ndarray
    pool: np.ndarray
    source: np.ndarray
    stratum: np.ndarray | None = None

    @classmethod
    def of(
        cls,
        latent: np.ndarray,
        source: np.ndarray,
        rng: np.random.Generator | int = 0,
        k: int = NEIGHBOURS,
        stratum: np.ndarray | None = None,
    ) -> Neighbourhood:
        """Draw the pool and find the neighbours.

        Parameters
        ----------
        latent
            (n, d), cells of all sources.
        source, stratum
            (n,) strings.
        rng
            Generator or seed.
        k
            Neighbours; cut to half the pool where cells are few.
        """
        rng = np.random.default_rng(rng)
        source = np.asarray(source, dtype=str)
        names, sizes = np.unique(source, return_counts=True)
        drawn = [rng.permutation(np.flatnonzero(source == name))[: sizes.min()] for name in names]
        pool = np.sort(np.concatenate(drawn))
        nearest = neighbours(latent, max(1, min(k, len(pool) // 2)), rng, pool)
        return cls(nearest, pool, source, None if stratum is None else np.asarray(stratum, dtype=str))

    def shuffled(self, rng: np.random.Generator, within: np.ndarray | None = None) -> np.ndarray:
        """Sources with those of the pool's cells permuted, within cell types where they are known: a null.

        Only the pool is permuted, so that it stays balanced; null scores ask the pool's cells alone. Strata
        ``within`` (n,) take the place of cell types.
        """
        source = self.source.copy()
        within = self.stratum if within is None else within
        kinds = np.zeros(len(self.pool)) if within is None else within[self.pool]
        for kind in np.unique(kinds):
            members = self.pool[kinds == kind]
            source[members] = self.source[rng.permutation(members)]
        return source

    def excess(self, which: str, source: np.ndarray | None = None) -> np.ndarray:
        """Share of a source among each cell's neighbours over its share expected there; (n,).

        Without strata the expectation is the source's share of all other cells of the pool. With strata it
        is the mean over the neighbours of the source's share in *their* type, so that sources with unlike
        cell types aren't called unmixed for that.

        Parameters
        ----------
        which
            The source.
        source
            Sources of the neighbours in place of the true ones, from :meth:`shuffled`.
        """
        own = (self.source if source is None else source) == which
        if self.stratum is None:
            inside = np.zeros(len(own), dtype=bool)
            inside[self.pool] = True
            expected = (own[self.pool].sum() - (own & inside)) / (len(self.pool) - inside)
        else:
            _, codes = np.unique(self.stratum, return_inverse=True)
            sizes = np.bincount(codes[self.pool], minlength=codes.max() + 1)
            shares = np.bincount(codes[self.pool], own[self.pool], codes.max() + 1) / np.maximum(sizes, 1)
            expected = shares[codes][self.nearest].mean(axis=1)
        share = own[self.nearest].mean(axis=1)
        return np.where(expected > 0, share / np.where(expected > 0, expected, 1.0), 1.0)

    def mixing(self, which: str, source: np.ndarray | None = None) -> float:
        """Mean :meth:`excess` of a source over its own cells: 1 mixed, the number of sources apart.

        It can fall below 1 for the source that spreads more widely than the others.
        """
        asked = self._asked(source)
        own = (self.source if source is None else source)[asked] == which
        return float(self.excess(which, source)[asked][own].mean())

    def by_class(self, which: str, labels: np.ndarray, source: np.ndarray | None = None) -> dict[str, float]:
        """:meth:`mixing` within each class of the source's cells that has :data:`SMALLEST_CLASS` or more."""
        own = self.source == which
        excess = self.excess(which, source)
        members = {name: own & (labels == name) for name in np.unique(labels[own & (labels != "")])}
        return {str(n): float(excess[m].mean()) for n, m in members.items() if m.sum() >= SMALLEST_CLASS}

    def separation(self, source: np.ndarray | None = None) -> float:
        """How well neighbours separate the sources: balanced kNN accuracy, 1 / sources mixed, 1 apart.

        One number for all sources, high also where one of them is merely narrower than the others.
        """
        _, codes = np.unique(self.source if source is None else source, return_inverse=True)
        voters = np.full(len(codes), -1)
        voters[self.pool] = codes[self.pool]
        asked = self._asked(source)
        return knn_accuracy(codes[asked], self.nearest[asked], voters)

    def linear_separation(self, latent: np.ndarray, source: np.ndarray | None = None) -> float:
        """:func:`linear_separation` of the pool's cells.

        Parameters
        ----------
        latent
            (n, d), the cells whose neighbours these are.
        source
            As in :meth:`excess`.
        """
        return linear_separation(latent[self.pool], (self.source if source is None else source)[self.pool])

    def _asked(self, source: np.ndarray | None) -> np.ndarray:
        return np.arange(len(self.source)) if source is None else self.pool


def linear_separation(latent: np.ndarray, source: np.ndarray) -> float:
    r"""How well a shift of the means separates sources: balanced accuracy of a linear discriminant.

    A cell is given to the source whose mean is nearest, in the distance
    :math:`(u - \mu_k)^\top (W + \rho I)^{-1} (u - \mu_k)` with W the mean over sources of the covariance
    within them (Fisher 1936). Sources of equal means score 1 / sources, however their spread or shape
    differs. So beside :meth:`Neighbourhood.separation` it tells two kinds of leakage apart: encodings that
    are *shifted* from one source to the other, and an axis that is alive in one source only, which moves no
    mean unless its effect has one.

    Parameters
    ----------
    latent
        (n, d).
    source
        (n,) strings.
    """
    names, codes = np.unique(source, return_inverse=True)
    own = [latent[codes == k] for k in range(len(names))]
    means = np.stack([rows.mean(axis=0) for rows in own])
    centred = latent - means[codes]
    weights = 1.0 / (len(names) * np.bincount(codes))
    within = (centred * weights[codes][:, None]).T @ centred
    within += (RIDGE * np.trace(within) / len(within) + _SMALLEST) * np.eye(len(within))
    axes = np.linalg.solve(within, means.T)
    scores = latent @ axes - 0.5 * (means.T * axes).sum(axis=0)
    return balanced_accuracy(codes, scores.argmax(axis=1))
