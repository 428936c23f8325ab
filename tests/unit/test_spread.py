"""Parts of a stack on threads of their own: the same members, whatever the number of cores."""

import gc
import threading

import numpy as np
import pytest
import torch

from cdgm.training import spread
from cdgm.training.loop import train
from cdgm.training.spread import joined, one_thread, parts_of, train_spread
from tests.unit.builders import fit_spec, observations

SPEC = fit_spec()


@pytest.fixture(scope="module")
def x():
    return {source: values[:1] for source, values in observations(SPEC).items()}


@pytest.fixture
def pairs(monkeypatch):
    """Parts of two members, as for data with many features."""
    monkeypatch.setattr(spread, "PART_SIZES", ((0, 2),))


def spread_over(x, cores, monkeypatch, watches=(None, None), progress=lambda steps: None):
    monkeypatch.setattr(spread, "cores", lambda: cores)
    return joined(SPEC, train_spread(SPEC, x, progress, watches))


def test_parts_depend_on_the_shape_alone():
    assert parts_of(SPEC, 30) == [slice(0, 16)]
    assert parts_of(SPEC, 1000) == [slice(0, 2), slice(2, 4)]


def test_parts_hold_the_members_of_the_whole(x, pairs, monkeypatch):
    whole, parts = train(SPEC, x, [0, 0, 0]), spread_over(x, 2, monkeypatch)
    for a, b in zip(whole.model.parameters(), parts.model.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    assert list(parts.history) == list(whole.history)
    np.testing.assert_allclose(parts.history["elbo/target"], whole.history["elbo/target"], rtol=1e-4)


def test_the_number_of_cores_changes_no_byte(x, pairs, monkeypatch):
    one, two = spread_over(x, 1, monkeypatch), spread_over(x, 2, monkeypatch)
    assert all(torch.equal(a, b) for a, b in zip(one.model.parameters(), two.model.parameters(), strict=True))
    assert all(np.array_equal(one.history[name], two.history[name]) for name in one.history)


def test_a_part_that_ends_early_leaves_its_history_empty_after(x, pairs, monkeypatch):
    counted = []
    ends_at_once = [lambda step, model, alive: True, None]
    found = spread_over(x, 2, monkeypatch, ends_at_once, counted.append)
    elbo = found.history["elbo/target"]
    assert np.isnan(elbo[1:, :2]).all()
    assert np.isfinite(elbo[:, 2]).all()
    # Steps that were saved count as done, so that progress reaches its end.
    assert sum(counted) == 3 * SPEC.training.steps


@pytest.mark.parametrize("cores", [1, 2])
def test_an_error_in_one_part_ends_the_others(x, pairs, monkeypatch, cores):
    def fails(step, model, alive):
        raise FloatingPointError("a fault")

    with pytest.raises(FloatingPointError, match="a fault"):
        spread_over(x, cores, monkeypatch, [None, fails])
    assert not [t for t in threading.enumerate() if "ThreadPool" in t.name]


def test_torch_gets_its_threads_back():
    before = torch.get_num_threads()
    with one_thread():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before


def test_no_part_tidies_up_what_others_left(x, pairs, monkeypatch):
    """An open file of h5py in a cycle, collected by a thread that trains, waited for h5py's lock for ever."""
    ended_by = []

    class Left:
        def __init__(self):
            self.me = self

        def __del__(self):
            ended_by.append(threading.current_thread())

    def collects(*arguments):
        gc.collect()
        return train(*arguments)

    monkeypatch.setattr(spread, "train", collects)
    gc.disable()
    try:
        Left()
        spread_over(x, 2, monkeypatch)
    finally:
        gc.enable()
    assert ended_by == [threading.main_thread()]
