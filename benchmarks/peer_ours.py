"""Our model as a method of `benchmarks.peers`, at the settings of the study that fits it to the data set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.peer_tables import Fitted, Method
from cdgm.config import parse_config
from cdgm.data.bundle import Bundle
from cdgm.errors import bad_input
from cdgm.overlays import load_layers
from cdgm.plan import dump, expand
from cdgm.specs import FitSpec

ROOT = Path(__file__).resolve().parents[1]
WASSERSTEIN = {"kind": "wasserstein_inactive", "weight": 1.0}


@dataclass(frozen=True)
class Ours:
    """Our model under a variant, at the widths of the study or with hidden layers like the peer's."""

    penalties: tuple[Mapping[str, Any], ...] = ()
    equal_widths: bool = False

    def settings(self) -> dict[str, Any]:
        """See :class:`Method`."""
        return {"penalties": [dict(p) for p in self.penalties], "equal_widths": self.equal_widths}

    def spec(self, ours: FitSpec, seed: int) -> FitSpec:
        """The fit of one seed."""
        values = dump(ours) | {"seeds": [seed]}
        values["variant"] = dump(ours.variant) | {"penalties": [dict(p) for p in self.penalties]}
        if self.equal_widths:
            values["model"] = values["model"] | {"decoder_hidden": list(ours.model.encoder_hidden)}
        return FitSpec.model_validate(values)

    def fit(self, ours: FitSpec, bundle: Bundle, seed: int, draws: int) -> Fitted:
        """See :class:`Method`."""
        import torch

        from cdgm.evaluation import embed
        from cdgm.inference import held_out_bounds
        from cdgm.streams import stream
        from cdgm.training import train

        torch.set_num_threads(1)
        spec = self.spec(ours, seed)
        trained = train(spec, bundle.x["train"], [0])
        generators = [stream("evaluate", "bounds", spec.dataset, seed, root=spec.root_seed)]
        elbo, kl = held_out_bounds(trained.model, bundle.x["test"], [0], generators, draws)
        return Fitted(
            {key: mean[0] for key, mean in embed(trained.model, bundle, [0]).items()},
            {source: float(value[0]) for source, value in elbo.items()},
            {key: float(value[0]) for key, value in kl.items()},
            bool(trained.finite[0]),
        )


def our_fit(dataset: str) -> FitSpec:
    """The fit of variant ``cvae`` on a data set of cells, as config.yaml has it."""
    files = [str(ROOT / "config.yaml")]
    plan = expand(parse_config(load_layers(files, {}), files), files)
    for rows in plan.studies.values():
        for found in rows:
            if (found.dataset, found.variant) == (dataset, "cvae"):
                return plan.fits[plan.evaluations[found.evaluation].fit].spec
    raise bad_input("config.yaml", "studies", dataset, "a data set that a study fits with variant 'cvae'")


def our_methods(ours: FitSpec) -> dict[str, Method]:
    """Our rows, by name."""
    methods: dict[str, Method] = {"cvae": Ours(), "contrastive-vi": Ours((WASSERSTEIN,))}
    if ours.model.decoder_hidden != ours.model.encoder_hidden:
        methods["cvae-equal-widths"] = Ours(equal_widths=True)
    return methods


def steps_an_epoch(bundle: Bundle, batch_size: int) -> int:
    """Steps that see the larger source once; the smaller one is cycled through, as the peer does."""
    return -(-max(x.shape[1] for x in bundle.x["train"].values()) // batch_size)
