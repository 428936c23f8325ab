"""Our model as a method of `benchmarks.peers`, at the settings of the study that fits it to the data set."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.peer_tables import Fitted, Method
from cdgm.config.fit import FitSpec
from cdgm.config.layers import load_layers
from cdgm.config.study import parse_config
from cdgm.data.bundle import Bundle
from cdgm.estimator.specification import parse_variant
from cdgm.utils.errors import bad_input
from cdgm.utils.random_streams import stream
from cdgm.workflow.plan import dump, expand

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Ours:
    """Our model under a variant of config.yaml, at the study's widths or with the peer's hidden layers."""

    variant: str = "cvae"
    equal_widths: bool = False
    #: Whether all seeds are fitted together, as members of one stack.
    stacked = True

    def settings(self) -> dict[str, Any]:
        """See :class:`Method`."""
        return {"variant": dump(parse_variant(self.variant)), "equal_widths": self.equal_widths}

    def spec(self, ours: FitSpec, seeds: Sequence[int]) -> FitSpec:
        """The fit of these seeds."""
        values = dump(ours) | {"seeds": list(seeds), "variant": dump(parse_variant(self.variant))}
        if self.equal_widths:
            values["model"] = values["model"] | {"decoder_hidden": list(ours.model.encoder_hidden)}
        return FitSpec.model_validate(values)

    def fit(self, ours: FitSpec, bundle: Bundle, seeds: Sequence[int], draws: int) -> list[Fitted]:
        """See :class:`Method`."""
        import torch

        from cdgm.evaluation.fits import embed
        from cdgm.models.inference import held_out_bounds
        from cdgm.training.loop import train

        torch.set_num_threads(1)
        spec, members = self.spec(ours, seeds), [0] * len(seeds)
        before = time.process_time()
        trained = train(spec, bundle.x["train"], members)
        seconds = (time.process_time() - before) / len(seeds)
        generators = [stream("evaluate", "bounds", spec.dataset, seed, root=spec.root_seed) for seed in seeds]
        elbo, kl = held_out_bounds(trained.model, bundle.x["test"], members, generators, draws)
        means = embed(trained.model, bundle, members)
        return [
            Fitted(
                {key: mean[e] for key, mean in means.items()},
                {source: float(value[e]) for source, value in elbo.items()},
                {key: float(value[e]) for key, value in kl.items()},
                bool(trained.finite[e]),
                seconds,
            )
            for e in range(len(seeds))
        ]


def our_fit(dataset: str) -> FitSpec:
    """The fit of variant ``cvae`` on a data set of cells, as config.yaml has it."""
    files = [str(ROOT / "config.yaml")]
    plan = expand(parse_config(load_layers(files), files), files)
    for rows in plan.studies.values():
        for found in rows:
            if (found.dataset, found.variant) == (dataset, "cvae"):
                return plan.fits[plan.evaluations[found.evaluation].fit].spec
    raise bad_input("config.yaml", "studies", dataset, "a data set that a study fits with variant 'cvae'")


def our_methods(ours: FitSpec) -> dict[str, Method]:
    """Our rows, by name."""
    methods: dict[str, Method] = {name: Ours(name) for name in ("cvae", "wasserstein-cvae", "mo-co-cvae")}
    if ours.model.decoder_hidden != ours.model.encoder_hidden:
        methods["cvae-equal-widths"] = Ours(equal_widths=True)
    return methods


def steps_an_epoch(bundle: Bundle, batch_size: int) -> int:
    """Steps that see the larger source once; the smaller one is cycled through, as the peer does."""
    return -(-max(x.shape[1] for x in bundle.x["train"].values()) // batch_size)
