"""How well a latent space separates labelled cells: neighbours, clusters, silhouettes.

Labels are arrays of strings, "" where a cell has none.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.cluster import KMeans

from cdgm.evaluation.metrics.nulls import Null, summary
from cdgm.evaluation.metrics.split_half import as_matrix

NEIGHBOURS = 15
SILHOUETTE_POINTS = 5000
_CHUNK = 1024
# A space of this size or less holds float32 rounding of one point.
_SMALLEST_SIZE = 1e-6
_JITTER = 4e-6


def neighbours(
    latent: np.ndarray, k: int, rng: np.random.Generator | int = 0, pool: np.ndarray | None = None
) -> np.ndarray:
    """Indices (n, k) of the nearest other points, unordered; k is cut to what there is.

    Chunks of float32 products. Squared distances get a seeded jitter of 4e-6 of the space's size, above
    rounding: a collapsed block puts many cells on one point, and ties broken by row order would make the
    same few cells the neighbours of all.

    Parameters
    ----------
    latent
        (n, d).
    k
        Neighbours.
    rng
        Generator or seed of the jitter.
    pool
        Indices of the points that may be neighbours; by default all.
    """
    rng = np.random.default_rng(rng)
    points = as_matrix(latent)
    n = len(points)
    pool = np.arange(n) if pool is None else np.asarray(pool)
    k = min(k, len(pool) - 1)
    points = points - points.mean(axis=0)
    size = np.sqrt((points**2).sum(axis=1).mean())
    points = (points / size if size > _SMALLEST_SIZE else np.zeros_like(points)).astype(np.float32)
    candidates = points[pool]
    squares = (candidates * candidates).sum(axis=1)
    place = np.full(n, -1)
    place[pool] = np.arange(len(pool))
    found = np.empty((n, k), dtype=np.int64)
    for start in range(0, n, _CHUNK):
        chunk = points[start : start + _CHUNK]
        distances = squares[None, :] - 2.0 * chunk @ candidates.T
        distances += np.float32(_JITTER) * rng.random(distances.shape, dtype=np.float32)
        own = place[start : start + len(chunk)]
        distances[np.flatnonzero(own >= 0), own[own >= 0]] = np.inf
        found[start : start + _CHUNK] = pool[np.argpartition(distances, k - 1, axis=1)[:, :k]]
    return found


def balanced_accuracy(codes: np.ndarray, predicted: np.ndarray) -> float:
    """Mean over classes of the share of cells predicted right; codes are 0, ..., classes - 1."""
    sizes = np.bincount(codes)
    return float((np.bincount(codes, weights=predicted == codes) / sizes).mean())


def knn_accuracy(codes: np.ndarray, nearest: np.ndarray, voters: np.ndarray | None = None) -> float:
    """Leave-one-out accuracy of a vote among neighbours, balanced over classes twice.

    A vote counts one over its class's size, and the accuracy is the mean over classes: a space without
    information scores 1 / classes whatever their sizes.

    Parameters
    ----------
    codes
        (n,) class of each cell, 0, ..., classes - 1.
    nearest
        (n, k) neighbours among the same cells, from :func:`neighbours`.
    voters
        (n,) classes that the cells vote for, -1 for those that can't be neighbours; by default ``codes``.
    """
    classes = int(codes.max()) + 1
    voters = codes if voters is None else voters
    weights = 1.0 / np.maximum(np.bincount(voters[voters >= 0], minlength=classes), 1)
    votes = np.zeros((len(codes), classes))
    voted = voters[nearest]
    for label in range(classes):
        votes[:, label] = (voted == label).sum(axis=1) * weights[label]
    return balanced_accuracy(codes, votes.argmax(axis=1))


def cluster_agreement(labellings: np.ndarray, clusters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Normalised mutual information and adjusted Rand index of labellings with one clustering.

    Both follow from counts of label and cluster. Information is over the mean of both entropies, 0 where
    labels or clusters are one; the index is 1 where both are (Hubert & Arabie 1985). Without a library's
    checks of each labelling, which take far longer than the scores where a null has hundreds.

    Parameters
    ----------
    labellings
        (L, n) codes 0, 1, ...
    clusters
        (n,) codes 0, 1, ...

    Returns
    -------
    nmi, ari
        (L,) each.
    """
    n_labels, n_clusters = int(labellings.max()) + 1, int(clusters.max()) + 1
    counts = np.stack(
        [np.bincount(codes * n_clusters + clusters, minlength=n_labels * n_clusters) for codes in labellings]
    ).reshape(len(labellings), n_labels, n_clusters)
    n = len(clusters)
    of_labels, of_clusters = counts.sum(axis=2), counts.sum(axis=1)
    entropies = _entropy(of_labels / n) + _entropy(of_clusters / n)
    shared = (entropies - _entropy(counts.reshape(len(counts), -1) / n)).clip(min=0)
    one = np.minimum((of_labels > 0).sum(axis=1), (of_clusters > 0).sum(axis=1)) == 1
    nmi = np.where(one, 0.0, 2 * shared / np.where(one, 1.0, entropies))
    together, in_labels, in_clusters = (
        (c * (c - 1) / 2).reshape(len(counts), -1).sum(axis=1) for c in (counts, of_labels, of_clusters)
    )
    expected = in_labels * in_clusters / (n * (n - 1) / 2)
    most = (in_labels + in_clusters) / 2
    same = most == expected
    return nmi, np.where(same, 1.0, (together - expected) / np.where(same, 1.0, most - expected))


def _entropy(shares: np.ndarray) -> np.ndarray:
    """In nats, along the last axis."""
    return -(shares * np.log(np.where(shares > 0, shares, 1.0))).sum(axis=-1)


def silhouettes(latent: np.ndarray, labellings: np.ndarray) -> np.ndarray:
    r"""Mean silhouette of several labellings of the same points, :math:`(b - a) / \max(a, b)`.

    a: mean distance to the own class, b: to the nearest other one (Rousseeuw 1987); 0 for a class of one
    and where all distances vanish. The distances are formed once for all labellings.

    Parameters
    ----------
    latent
        (n, d).
    labellings
        (L, n) codes 0, ..., classes - 1.
    """
    points = as_matrix(latent)
    squares = (points * points).sum(axis=1)
    distances = np.sqrt(np.maximum(squares[:, None] + squares[None, :] - 2.0 * points @ points.T, 0.0))
    np.fill_diagonal(distances, 0.0)
    distances = distances.astype(np.float32)
    values = np.empty(len(labellings))
    everyone = np.arange(len(points))
    for i, codes in enumerate(labellings):
        sizes = np.bincount(codes)
        sums = distances @ np.eye(len(sizes), dtype=np.float32)[codes]
        own = sums[everyone, codes] / np.maximum(sizes[codes] - 1, 1)
        means = sums / sizes
        means[everyone, codes] = np.inf
        other = means.min(axis=1)
        larger = np.maximum(own, other)
        score = np.where(larger > 0, (other - own) / np.where(larger > 0, larger, 1.0), 0.0)
        values[i] = np.where(sizes[codes] > 1, score, 0.0).mean()
    return values


def clusters(latent: np.ndarray, k: int, seed: int = 0) -> np.ndarray:
    """k-means codes (best of 10 seeded starts); all 0 where the points coincide."""
    points = as_matrix(latent)
    if np.ptp(points, axis=0).max() <= _SMALLEST_SIZE:
        return np.zeros(len(points), dtype=np.int64)
    starts: Any = 10  # scikit-learn's types name the word "auto" alone
    return KMeans(n_clusters=k, n_init=starts, random_state=seed).fit_predict(points)


def label_scores(
    latent: np.ndarray, labels: np.ndarray, rng: np.random.Generator | int = 0, draws: int = 100
) -> dict[str, tuple[float, Null]]:
    """knn_accuracy, nmi, ari and silhouette of the labelled cells, each with its permutation null.

    Parameters
    ----------
    latent
        (n, d).
    labels
        (n,) strings; cells with "" are left out.
    rng
        Generator or seed: of the tie-breaking, the k-means starts, the subsample and the permutations.
    draws
        Permutations of the labels; the neighbours, clusters and distances stay as they are.

    Returns
    -------
    dict
        ``{metric: (value, null)}``; empty with fewer than two classes.
    """
    rng = np.random.default_rng(rng)
    labels = np.asarray(labels, dtype=str)
    known = labels != ""
    names, codes = np.unique(labels[known], return_inverse=True)
    if len(names) < 2 or known.sum() < 3:
        return {}
    points = as_matrix(latent)[known]
    nearest = neighbours(points, NEIGHBOURS, rng)
    found = clusters(points, len(names), int(rng.integers(2**31)))
    shuffled = np.array([rng.permutation(codes) for _ in range(draws)])
    labellings = np.array([codes, *shuffled])
    nmi, ari = cluster_agreement(labellings, found)
    accuracy = [knn_accuracy(labelling, nearest) for labelling in labellings]
    result = _with_nulls(knn_accuracy=accuracy, nmi=nmi, ari=ari)
    some = np.sort(rng.permutation(len(points))[:SILHOUETTE_POINTS])
    # A rare class may be missing from the subsample: code anew.
    several = np.array([np.unique(c[some], return_inverse=True)[1] for c in (codes, *shuffled[:20])])
    if several[0].max() > 0:
        values = silhouettes(points[some], several)
        result["silhouette"] = (float(values[0]), summary(values[1:]))
    return result


def agreement(
    labels: np.ndarray, predicted: np.ndarray, rng: np.random.Generator | int = 0, draws: int = 100
) -> dict[str, tuple[float, Null]]:
    """Scores of a classifier's predictions on the scale of :func:`label_scores`.

    Returns
    -------
    dict
        knn_accuracy (balanced accuracy), nmi and ari (predictions as clusters); empty with fewer than two
        classes.
    """
    rng = np.random.default_rng(rng)
    names = np.unique(labels)
    if len(names) < 2:
        return {}
    codes = np.searchsorted(names, labels)
    labellings = np.array([codes, *(rng.permutation(codes) for _ in range(draws))])
    nmi, ari = cluster_agreement(labellings, np.unique(predicted, return_inverse=True)[1])
    among = np.searchsorted(names, predicted)
    accuracy = [balanced_accuracy(labelling, among) for labelling in labellings]
    return _with_nulls(knn_accuracy=accuracy, nmi=nmi, ari=ari)


def _with_nulls(**scores: np.ndarray | list[float]) -> dict[str, tuple[float, Null]]:
    """Score and null of each metric, from the score of the labels and those of permuted ones."""
    return {metric: (float(values[0]), summary(values[1:])) for metric, values in scores.items()}
