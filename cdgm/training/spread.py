"""Train the members of a stack side by side: parts of it on threads of their own, one core each.

Many small operations on several cores make threads wait for each other at each of them: with one other
process on the machine a step then takes ten times as long. Members are independent, so each core gets whole
members instead, and every operation runs on one core.
"""

from __future__ import annotations

import contextlib
import gc
import os
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait

import numpy as np
import torch

from cdgm.config.fit import FitSpec
from cdgm.models.comparative_vae import ComparativeVAE
from cdgm.training.device import device_of
from cdgm.training.loop import TrainedStack, Watch, train

#: Members of a part, by the number of features from which this holds: the fewer features, the more a stack
#: gains over fits one at a time. A constant of the shape alone, so that results depend on no machine.
PART_SIZES = ((200, 2), (0, 16))


class _Interrupted(Exception):
    """Another part failed, or the user pressed Ctrl-C."""


@contextlib.contextmanager
def one_thread() -> Generator[None]:
    """Run every operation of torch on one thread, and give the threads back afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def parts_of(spec: FitSpec, n_features: int) -> list[slice]:
    """Members of each part of a stack."""
    size = next(size for least, size in PART_SIZES if n_features >= least)
    if device_of(spec.training.device).type != "cpu":
        size = len(spec.members)
    return [slice(start, start + size) for start in range(0, len(spec.members), size)]


def train_spread(
    spec: FitSpec,
    x: Mapping[str, np.ndarray],
    progress: Callable[[int], None],
    watches: Sequence[Watch | None],
    covariates: Mapping[str, np.ndarray] | None = None,
) -> list[TrainedStack]:
    """Train the parts of a stack (:func:`parts_of`), as many at a time as there are cores.

    Parameters
    ----------
    spec
        The fit: one value of each setting, any number of members.
    x
        Training observations of each source (1, n, D).
    progress
        Called with the number of steps of members since the last call, by one thread at a time; steps that
        early stopping saves count as done.
    watches
        As in :func:`cdgm.training.loop.train`, one for each part.
    covariates
        As there.
    """
    parts = parts_of(spec, next(iter(x.values())).shape[-1])
    lock, interrupted = threading.Lock(), threading.Event()

    def work(part: slice, watch: Watch | None) -> TrainedStack:
        own = spec.of(spec.members[part])
        # A thread that torch has not seen before takes this number from its first operation on.
        torch.set_num_threads(1)

        left = spec.training.steps

        def advance(steps: int) -> None:
            nonlocal left
            if interrupted.is_set():
                raise _Interrupted
            left -= steps
            with lock:
                progress(steps * len(own.members))

        trained = train(own, x, [0] * len(own.members), advance, watch, covariates)
        advance(left)
        return trained

    with one_thread():
        if len(parts) == 1:
            return [work(parts[0], watches[0])]
        # What libraries left in cycles goes now: a file of h5py that is closed on another thread waits for
        # h5py's lock, and was seen to wait for ever.
        gc.collect()
        pool = ThreadPoolExecutor(min(len(parts), cores()))
        try:
            running = [pool.submit(work, *each) for each in zip(parts, watches, strict=True)]
            done, _ = wait(running, return_when=FIRST_EXCEPTION)
            failed = [future for future in done if future.exception()]
            return [future.result() for future in failed or running]
        finally:
            # Nothing to interrupt where all is well; else the others end at their next record.
            interrupted.set()
            pool.shutdown(cancel_futures=True)


def cores() -> int:
    """Number of cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def joined(spec: FitSpec, parts: Sequence[TrainedStack]) -> TrainedStack:
    """One stack of the members of several; the history of a part that ended early goes on with NaN."""
    if len(parts) == 1:
        return parts[0]
    first = parts[0].model
    model = ComparativeVAE(spec.model, first.n_features, len(spec.members), first.n_covariates)
    model.to(next(first.parameters()).dtype)
    with torch.no_grad():
        for whole, *pieces in zip(model.parameters(), *(p.model.parameters() for p in parts), strict=True):
            whole.copy_(torch.cat(pieces))
    longest = max((part.history for part in parts), key=lambda history: len(history["step"]))
    history = {
        name: values
        if values.ndim == 1
        else np.concatenate([_padded(part.history[name], len(values)) for part in parts], axis=1)
        for name, values in longest.items()
    }
    return TrainedStack(model, np.concatenate([part.finite for part in parts]), history)


def selected(spec: FitSpec, trained: TrainedStack, members: Sequence[int]) -> TrainedStack:
    """The stack of some members of a stack, in this order."""
    places = list(members)
    model = ComparativeVAE(spec.model, trained.model.n_features, len(places), trained.model.n_covariates)
    model.to(next(trained.model.parameters()).dtype)
    with torch.no_grad():
        for own, whole in zip(model.parameters(), trained.model.parameters(), strict=True):
            own.copy_(whole[places])
    history = {name: v if v.ndim == 1 else v[:, places] for name, v in trained.history.items()}
    return TrainedStack(model, trained.finite[places], history)


def _padded(values: np.ndarray, length: int) -> np.ndarray:
    missing = np.full((length - len(values), *values.shape[1:]), np.nan, dtype=values.dtype)
    return np.concatenate([values, missing])
