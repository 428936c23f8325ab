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
    #: Whether the decoder, and whether the encoders too, are told the batches of the data.
    batches: bool = False
    encode_batches: bool = False
    #: Whether all seeds are fitted together, as members of one stack.
    stacked = True

    def settings(self) -> dict[str, Any]:
        """See :class:`Method`."""
        own = {"variant": dump(parse_variant(self.variant)), "equal_widths": self.equal_widths}
        # Added only where it is used, so that fits which were kept before there was this option are found.
        return own | ({"batches": True, "encoders": self.encode_batches} if self.batches else {})

    def spec(self, ours: FitSpec, seeds: Sequence[int], batches: Sequence[str] = ()) -> FitSpec:
        """The fit of these seeds, which is told these covariates if it is told batches."""
        values = dump(ours) | {"seeds": list(seeds), "variant": dump(parse_variant(self.variant))}
        if self.equal_widths:
            values["model"] = values["model"] | {"decoder_hidden": list(ours.model.encoder_hidden)}
        if self.batches:
            told = {"covariates": list(batches), "encode_covariates": self.encode_batches}
            values["model"] = values["model"] | told
        return FitSpec.model_validate(values)

    def fit(self, ours: FitSpec, bundle: Bundle, seeds: Sequence[int], draws: int) -> list[Fitted]:
        """See :class:`Method`."""
        import torch

        from cdgm.evaluation.fits import embed
        from cdgm.models.inference import held_out_bounds
        from cdgm.training.loop import train

        torch.set_num_threads(1)
        spec, members = self.spec(ours, seeds, bundle.batches), [0] * len(seeds)
        known = {split: bundle.covariates_of(split, spec.model.covariates) for split in bundle.x}
        before = time.process_time()
        trained = train(spec, bundle.x["train"], members, covariates=known["train"])
        seconds = (time.process_time() - before) / len(seeds)
        generators = [stream("evaluate", "bounds", spec.dataset, seed, root=spec.root_seed) for seed in seeds]
        x = bundle.x["test"]
        elbo, kl = held_out_bounds(trained.model, x, members, generators, draws, known["test"])
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
    names = ("cvae", "wasserstein-cvae", "mo-co-cvae", "both-warm-up", "private-warm-up")
    methods: dict[str, Method] = {name: Ours(name) for name in names}
    if ours.model.decoder_hidden != ours.model.encoder_hidden:
        methods["cvae-equal-widths"] = Ours(equal_widths=True)
    return methods


def steps_an_epoch(bundle: Bundle, batch_size: int) -> int:
    """Steps that see the larger source once; the smaller one is cycled through, as the peer does."""
    return -(-max(x.shape[1] for x in bundle.x["train"].values()) // batch_size)
