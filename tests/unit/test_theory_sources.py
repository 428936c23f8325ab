"""The theorem for any number of sources: what keeps every source's law is block diagonal."""

import numpy as np
import pytest
from scipy.linalg import block_diag
from scipy.stats import ortho_group

from cdgm.config.design import Design
from tests.unit.builders import CONTRASTIVE, THREE_SOURCES
from tests.unit.theory_helpers import mixing, p_equal_laws

#: No source has the shared block alone.
PRIVATE_EACH = {"sources": ["a", "b"], "blocks": {"shared": ["a", "b"], "own_a": ["a"], "own_b": ["b"]}}
#: Each pair of sources has a block, and none has one alone.
PAIRS = {"sources": ["a", "b", "c"], "blocks": {"ab": ["a", "b"], "bc": ["b", "c"], "ca": ["c", "a"]}}
#: Two blocks of the same sources: nothing tells them apart.
SAME_SOURCES = {"sources": ["a", "b"], "blocks": {"first": ["a", "b"], "second": ["a", "b"], "own": ["b"]}}


def active(design, dims):
    """Mask (sources, latents) of the latents that a source has."""
    return np.array([np.repeat([s in of for of in design.blocks.values()], dims) for s in design.sources])


def orthogonal(rng, *sizes):
    """A random orthogonal matrix, block diagonal with blocks of these sizes."""
    return block_diag(*(ortho_group.rvs(n, random_state=rng) if n > 1 else [[-1.0]] for n in sizes))


@pytest.mark.parametrize(
    ("design", "classes"),
    [
        (CONTRASTIVE, [[0], [1]]),
        (PRIVATE_EACH, [[0], [1], [2]]),
        (THREE_SOURCES, [[0], [1], [2]]),
        (PAIRS, [[0], [1], [2]]),
        (SAME_SOURCES, [[0, 1], [2]]),
    ],
    ids=["contrastive", "private_each", "three", "pairs", "same_sources"],
)
def test_small_rotations_that_keep_all_laws_are_those_within_blocks(design, classes):
    """Of linear mixing M: skew A with M (A P_k - P_k A) M' = 0 for every source, P_k its active latents."""
    design = Design.model_validate(design)
    dims = [2, 3, 4][: len(design.blocks)]
    n = sum(dims)
    loadings = np.random.default_rng(0).standard_normal((n + 3, n))
    pairs = [(i, j) for i in range(n) for j in range(i)]
    columns = []
    for i, j in pairs:
        skew = np.zeros((n, n))
        skew[i, j], skew[j, i] = 1, -1
        changes = [
            loadings @ (skew * mask - mask[:, None] * skew) @ loadings.T for mask in active(design, dims)
        ]
        columns.append(np.ravel(changes))
    _, sizes, directions = np.linalg.svd(np.transpose(columns))
    kept = directions[np.sum(sizes > 1e-9 * sizes[0]) :]
    block = np.repeat(np.arange(len(dims)), dims)
    group = np.array([next(c for c, members in enumerate(classes) if b in members) for b in block])
    sizes = [np.sum(group == c) for c in range(len(classes))]
    assert len(kept) == sum(d * (d - 1) // 2 for d in sizes)
    between = [k for k, (i, j) in enumerate(pairs) if group[i] != group[j]]
    assert np.abs(kept[:, between]).max() < 1e-9


def test_two_covariances_give_the_shared_block_without_a_source_that_has_it_alone():
    """From the laws alone: factors of both covariances, and the intersection of their column spaces."""
    rng = np.random.default_rng(1)
    shared, own = 3, 2
    loadings = {name: rng.standard_normal((12, d)) for name, d in {"z": shared, "a": own, "b": own}.items()}
    laws = [np.hstack([loadings["z"], loadings[s]]) for s in "ab"]
    factors = []
    for law in laws:
        values, vectors = np.linalg.eigh(law @ law.T)
        factors.append(vectors[:, -shared - own :] * np.sqrt(values[-shared - own :]))
    bases = [np.linalg.qr(factor)[0] for factor in factors]
    left, cosines, _ = np.linalg.svd(bases[0].T @ bases[1])
    assert cosines[shared - 1] > 1 - 1e-12
    assert cosines[shared] < 0.99
    common = bases[0] @ left[:, :shared]
    for factor, law, name in zip(factors, laws, "ab", strict=True):
        # Latents whose image lies in the intersection, and those at right angles to them.
        directions = np.linalg.svd(factor - common @ (common.T @ factor))[2]
        found = np.hstack([factor @ directions[own:].T, factor @ directions[:own].T])
        np.testing.assert_allclose(found @ found.T, law @ law.T, atol=1e-9)
        rotation = np.linalg.pinv(found) @ law
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(shared + own), atol=1e-9)
        assert np.abs(rotation[:shared, shared:]).max() < 1e-9
        assert np.abs(rotation[shared:, :shared]).max() < 1e-9
        np.testing.assert_allclose(
            found[:, :shared] @ found[:, :shared].T, loadings["z"] @ loadings["z"].T, atol=1e-9
        )
        np.testing.assert_allclose(
            found[:, shared:] @ found[:, shared:].T, loadings[name] @ loadings[name].T, atol=1e-9
        )


@pytest.mark.parametrize("design", [PRIVATE_EACH, THREE_SOURCES], ids=["private_each", "three"])
def test_a_rotation_across_blocks_changes_a_law_under_piecewise_affine_mixing(design):
    design, dims = Design.model_validate(design), [2, 2, 2]
    f = mixing(sum(dims))
    rng = np.random.default_rng(2)

    def smallest_p(rotation):
        found = []
        for mask in active(design, dims):
            u, other = (rng.standard_normal((200, sum(dims))) * mask for _ in range(2))
            found.append(p_equal_laws(f(u), f(other @ rotation), rng, draws=99))
        return min(found)

    assert smallest_p(orthogonal(rng, *dims)) > 0.02
    assert smallest_p(orthogonal(rng, sum(dims))) == pytest.approx(0.01)
