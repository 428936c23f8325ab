"""scvi-tools' ContrastiveVI as a method of `benchmarks.peers`; scvi is imported only when it fits.

Needs the optional extra ``peers``. It leans on three methods of the module that are not public, so the
version is pinned.
"""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from benchmarks.peer_tables import Fitted, Means
from cdgm.config.fit import FitSpec
from cdgm.data.bundle import Bundle

# scvi-tools' names for the two blocks, and ours, are the same; so are those of the two sources.
BLOCKS = ("background", "salient")
SOURCES = ("background", "target")
CHUNK = 2_048


@dataclass(frozen=True)
class ContrastiveVI:
    """A way of fitting scvi-tools' model at the widths, dimensions and batch size of one of our fits.

    Attributes
    ----------
    epochs
        Passes over the larger source; None for scvi-tools' own rule (400 below 20,000 cells).
    warm_up
        Epochs over which the weight of the KL terms rises from 0 to 1; None for none.
    private_only
        Whether it rises for the salient block alone, and is 1 for the background block from the start.
    wasserstein
        Weight of the distance of background cells' salient posterior to 0.
    zero_inflated
        Whether to keep the zero-inflated likelihood, the only one that the class has. Otherwise its
        reconstruction is replaced by the negative binomial with the same mean and dispersion.
    dropout
        Share of hidden units of the encoders that are dropped in training.
    batch_size
        Rows of each source a step; None for that of our fit.
    batches
        Whether it is told the first covariate of the data that has categories, as ``batch_key``. Encoders and
        decoder then both take it; the class has no way to keep it from the encoders.
    """

    epochs: int | None = None
    warm_up: int | None = 400
    private_only: bool = False
    wasserstein: float = 0.0
    zero_inflated: bool = True
    dropout: float = 0.1
    batch_size: int | None = None
    batches: bool = False
    #: Each seed is a fit of its own: see :class:`Method`.
    stacked = False

    def settings(self) -> dict[str, Any]:
        """All settings, and the version that they are settings of."""
        from importlib.metadata import version

        own = asdict(self)
        for name in ("private_only", "batches"):
            if not own[name]:
                del own[name]  # so that fits which were kept before there was this option are found
        return {"scvi-tools": version("scvi-tools")} | own

    def fit(self, ours: FitSpec, bundle: Bundle, seeds: Sequence[int], draws: int) -> list[Fitted]:
        """Fit on the training rows, then embed all rows and bound the held-out ones."""
        return [self._fit(ours, bundle, seed, draws) for seed in seeds]

    def _fit(self, ours: FitSpec, bundle: Bundle, seed: int, draws: int) -> Fitted:
        model, seconds = self.train(ours, bundle, seed)
        means: Means = {}
        for split, sources in bundle.x.items():
            for source in SOURCES:
                cells = _annotated(sources[source][0], self._batches(bundle, split, source))
                for block in BLOCKS:
                    mean = model.get_latent_representation(cells, representation_kind=block, batch_size=CHUNK)
                    means[split, source, block] = mean
        bounds = {
            s: held_out_bound(model, bundle.x["test"][s][0], s, seed, draws, self._batches(bundle, "test", s))
            for s in SOURCES
        }
        kl = {(s, b): v for s, (_, terms) in bounds.items() for b, v in terms.items()}
        finite = all(np.isfinite(mean).all() for mean in means.values())
        return Fitted(means, {s: elbo for s, (elbo, _) in bounds.items()}, kl, finite, sum(seconds))

    def _batches(self, bundle: Bundle, split: str, source: str) -> np.ndarray | None:
        """Number of each row's batch (n,); None where the model is not told."""
        if not self.batches:
            return None
        return bundle.covariates[split][source][bundle.batches[0]][0].argmax(axis=1)

    def train(self, ours: FitSpec, bundle: Bundle, seed: int) -> tuple[Any, list[float]]:
        """A trained model, and the processor seconds of each epoch."""
        import scvi
        import torch

        torch.set_num_threads(1)
        scvi.settings.seed = seed
        scvi.settings.verbosity = logging.WARNING  # else a line for each space and source
        spec = ours.model
        (width,) = set(spec.encoder_hidden)
        kind = _model(self.zero_inflated, self.private_only)
        x = bundle.x["train"]
        told = [self._batches(bundle, "train", s) for s in SOURCES]
        cells = _annotated(
            np.concatenate([x[s][0] for s in SOURCES]), np.concatenate(told) if self.batches else None
        )
        kind.setup_anndata(cells, batch_key="batch" if self.batches else None)
        model = kind(
            cells,
            n_hidden=width,
            n_background_latent=spec.dims["background"],
            n_salient_latent=spec.dims["salient"],
            n_layers=len(spec.encoder_hidden),
            dropout_rate=self.dropout,
            wasserstein_penalty=self.wasserstein,
        )
        n = x["background"].shape[1]
        clock = _clock()
        with tempfile.TemporaryDirectory() as folder:
            model.train(
                background_indices=list(range(n)),
                target_indices=list(range(n, cells.n_obs)),
                max_epochs=self.epochs,
                accelerator="cpu",
                train_size=1.0,
                batch_size=self.batch_size or ours.training.batch_size,
                plan_kwargs={"n_epochs_kl_warmup": self.warm_up},
                enable_progress_bar=False,
                default_root_dir=folder,
                callbacks=[clock],
            )
        return model, np.diff(clock.times).tolist()


def held_out_bound(
    model: Any, x: np.ndarray, source: str, seed: int, draws: int, batches: np.ndarray | None = None
) -> tuple[float, dict[str, float]]:
    """Mean ELBO of a source's cells and its KL terms by block: nats a cell, all constants in.

    The library size is the observed total on both sides, so no term of it is in the bound. Dropout is off
    and batch norm takes its running moments.
    """
    import torch

    module = model.module.eval()
    torch.manual_seed(seed)
    elbo, kl = 0.0, {"background": 0.0, "salient": 0.0}
    with torch.inference_mode():
        for _ in range(draws):
            for start in range(0, len(x), CHUNK):
                rows = torch.from_numpy(x[start : start + CHUNK].astype(np.float32))
                batch = torch.zeros(len(rows), 1, dtype=torch.long)
                if batches is not None:
                    batch[:, 0] = torch.from_numpy(batches[start : start + CHUNK])
                inferred = module._generic_inference(x=rows, batch_index=batch)
                if source == "background":
                    inferred["s"] = torch.zeros_like(inferred["s"])
                decoded = module._generic_generative(
                    z=inferred["z"], s=inferred["s"], library=inferred["library"], batch_index=batch
                )
                terms = module._generic_loss({"X": rows, "batch": batch}, inferred, decoded)
                total = -terms["recon_loss"] - terms["kl_z"]
                kl["background"] += terms["kl_z"].double().sum().item()
                if source == "target":
                    total = total - terms["kl_s"]
                    kl["salient"] += terms["kl_s"].double().sum().item()
                elbo += total.double().sum().item()
    n = len(x) * draws
    active = BLOCKS if source == "target" else BLOCKS[:1]
    return elbo / n, {block: kl[block] / n for block in active}


def _annotated(x: np.ndarray, batches: np.ndarray | None = None) -> Any:
    # Dense, so that no batch has to be unpacked: the faster of the two ways at these sizes.
    import anndata

    cells = anndata.AnnData(np.ascontiguousarray(x, dtype=np.float32))
    if batches is not None:
        cells.obs["batch"] = batches  # scvi-tools numbers sorted values, and every batch has training rows
    return cells


def _model(zero_inflated: bool, private_only: bool) -> type:
    """scvi-tools' class, or a subclass whose module has another likelihood or KL weights of its own."""
    import scvi
    from scvi.distributions import NegativeBinomial
    from scvi.external.contrastivevi._module import ContrastiveVAE

    if zero_inflated and not private_only:
        return scvi.external.ContrastiveVI

    class PlainCounts(ContrastiveVAE):
        @staticmethod
        def reconstruction_loss(x: Any, px_rate: Any, px_r: Any, px_dropout: Any) -> Any:
            return -NegativeBinomial(mu=px_rate, theta=px_r).log_prob(x).sum(-1)

    base: Any = ContrastiveVAE if zero_inflated else PlainCounts

    class PrivateWarmUp(base):
        def loss(self, *tensors: Any, kl_weight: float = 1.0, **more: Any) -> Any:
            found = super().loss(*tensors, kl_weight=kl_weight, **more)
            # There one weight multiplies the KL terms of both blocks.
            rest = (1.0 - kl_weight) * found.kl_local["kl_divergence_z"].mean()
            return replace(found, loss=found.loss + rest)

    class Model(scvi.external.ContrastiveVI):
        _module_cls = PrivateWarmUp if private_only else base

    return Model


def _clock() -> Any:
    from lightning.pytorch import Callback

    class Clock(Callback):
        def __init__(self) -> None:
            self.times: list[float] = []

        def on_train_epoch_start(self, *_: Any) -> None:
            self.times.append(time.process_time())

        def on_fit_end(self, *_: Any) -> None:
            self.times.append(time.process_time())

    return Clock()


def scvi_methods(epochs: int) -> Mapping[str, ContrastiveVI]:
    """What is compared, by name. ``epochs`` makes as many steps as our own fit takes."""
    half = max(1, epochs // 2)
    return {
        "scvi-default": ContrastiveVI(batch_size=128),
        "scvi-matched": ContrastiveVI(epochs=epochs, warm_up=None),
        "scvi-matched-both-warm-up": ContrastiveVI(epochs=epochs, warm_up=half),
        "scvi-matched-private-warm-up": ContrastiveVI(epochs=epochs, warm_up=half, private_only=True),
        "scvi-matched-wasserstein": ContrastiveVI(epochs=epochs, warm_up=None, wasserstein=1.0),
        "scvi-matched-nb": ContrastiveVI(epochs=epochs, warm_up=None, zero_inflated=False),
    }
