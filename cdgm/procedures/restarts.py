"""Best of several starts on the same data, by the ELBO of validation points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import AfterValidator

from cdgm.procedures.base import RECORD, Procedure
from cdgm.utils.errors import UserError
from cdgm.utils.progress import progress
from cdgm.utils.random_streams import stream
from cdgm.utils.registry import PerMember, Sweep, whole

if TYPE_CHECKING:
    from cdgm.config.fit import FitSpec, Member
    from cdgm.training.loop import TrainedStack

#: Share of each source's training points that validates starts, at most so many, and at least so many.
SHARE, MOST_ROWS, FEWEST_ROWS = 0.1, 500, 10
#: Posterior samples of a validation point.
DRAWS = 4


class Restarts(Procedure):
    """Train several starts of each seed, and keep the one with the highest ELBO on validation points.

    All starts are members of one stack. The first has the random numbers of a fit without restarts, so the
    best of k is among the best of more. The criterion is the mean of the sources' ELBOs on a tenth of the
    training points of each source (500 at most), which no start is trained on, with the same noise for all.

    Attributes
    ----------
    starts
        Number of starts. A list is swept: the most are trained, and each value keeps the best of its first.
    """

    kind: Literal["restarts"] = "restarts"
    starts: Annotated[int | Sweep, PerMember(minimum=1, maximum=100), AfterValidator(whole)]

    def trainings(self, members: Sequence[Member]) -> int:
        """See :meth:`Procedure.trainings`."""
        return len(starts_of(members)[0])

    def fit(self, spec: FitSpec, x: Mapping[str, np.ndarray], replicates: Sequence[int]) -> TrainedStack:
        """See :meth:`Procedure.fit`; adds ``procedure/start`` and ``procedure/elbo/<start>`` (E,).

        Raises
        ------
        UserError
            If a source has too few points to set some aside.
        """
        from cdgm.models.inference import held_out_bounds
        from cdgm.training.loop import train
        from cdgm.training.spread import selected

        replicate_of = {m.seed: r for m, r in zip(spec.members, replicates, strict=True)}
        every, candidates = starts_of(spec.members)
        started = spec.of(every)
        used = [replicate_of[m.seed] for m in every]
        rest, validation = _set_aside(spec, x)
        with progress("training", spec.training.steps, "steps") as advance:
            trained = train(started, rest, used, advance)
        generators = [stream("starts", "noise", spec.dataset, m.seed, root=spec.root_seed) for m in every]
        bounds, _ = held_out_bounds(trained.model, validation, used, generators, DRAWS)
        elbo = np.mean(list(bounds.values()), axis=0)
        kept = best(elbo, trained.finite, candidates)
        records = {
            f"{RECORD}fits": np.array([len(of_member) for of_member in candidates]),
            f"{RECORD}start": np.array([every[i].start for i in kept]),
        }
        for start in range(max(len(of_member) for of_member in candidates)):
            values = [elbo[c[start]] if start < len(c) else np.nan for c in candidates]
            records[f"{RECORD}elbo/{start}"] = np.array(values)
        found = selected(started, trained, kept)
        return replace(found, history=found.history | records)


def starts_of(
    members: Sequence[Member], starts: int | None = None
) -> tuple[list[Member], list[tuple[int, ...]]]:
    """All starts to train, and those that each member may come from.

    Parameters
    ----------
    members
        Members (E).
    starts
        Number of starts of each; None for what the procedure of its variant says.

    Returns
    -------
    every
        Starts (S): further ones of a member stand after it. Members that differ in their number of starts
        alone share them.
    candidates
        For each member (E), positions in ``every``, by start.
    """
    numbers = [_number(member) if starts is None else starts for member in members]
    # What a point says beside the number of starts: those that agree in it share their starts.
    others = [_without_starts(member.point) for member in members]
    most: dict[tuple[str, int], int] = {}
    first: dict[tuple[str, int], Member] = {}
    for member, number, other in zip(members, numbers, others, strict=True):
        key = other, member.seed
        most[key] = max(number, most.get(key, 0))
        first.setdefault(key, member)
    every: list[Member] = []
    places: dict[tuple[str, int], int] = {}
    for key, number in most.items():
        places[key] = len(every)
        every += [replace(first[key], start=start) for start in range(number)]
    candidates = [
        tuple(range(places[other, member.seed], places[other, member.seed] + number))
        for member, number, other in zip(members, numbers, others, strict=True)
    ]
    return every, candidates


def best(elbo: np.ndarray, finite: np.ndarray, candidates: Sequence[Sequence[int]]) -> list[int]:
    """The candidate of each member with the highest ELBO; the first of equals, and of none that is finite."""
    values = np.where(finite & np.isfinite(elbo), elbo, -np.inf)
    return [int(of_member[int(np.argmax(values[list(of_member)]))]) for of_member in candidates]


def _number(member: Member) -> int:
    procedure = member.variant.procedure
    return procedure.starts if isinstance(procedure, Restarts) and isinstance(procedure.starts, int) else 1


def _without_starts(point: str) -> str:
    return ",".join(part for part in point.split(",") if not part.startswith("starts="))


def _set_aside(
    spec: FitSpec, x: Mapping[str, np.ndarray]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Points to train on and to validate on, of each source (R, n, D); all replicates at the same places."""
    rest, validation = {}, {}
    for source in spec.model.design.sources:
        points = x[source].shape[1]
        count = min(round(SHARE * points), MOST_ROWS)
        if count < FEWEST_ROWS:
            expected = f"at least {round(FEWEST_ROWS / SHARE)}, a tenth of which validates starts"
            raise UserError(f"source {source!r}: got {points} training points, expected {expected}")
        shuffled = stream("starts", "validation", spec.dataset, source, root=spec.root_seed).permutation(
            points
        )
        validation[source] = x[source][:, np.sort(shuffled[:count])]
        rest[source] = x[source][:, np.sort(shuffled[count:])]
    return rest, validation
