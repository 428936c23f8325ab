"""The model of a user's own data: fit it, look into it, check it, keep it."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cdgm.api import anndata_input, arrays, settings
from cdgm.api.fitted import Fitted
from cdgm.api.observed import ALL, Observed, Split, split_rows
from cdgm.api.scaling import Scaling
from cdgm.designs import Design
from cdgm.errors import UserError, bad_input

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

logger = logging.getLogger(__name__)


class ComparativeVAE:
    """A comparative variational autoencoder of an AnnData object that was set up.

    What both kinds of cells share goes to the *background* block, what only the target has to the *salient*
    one.

    Parameters
    ----------
    adata
        Object that :meth:`setup_anndata` was called on. It is read, and kept for :meth:`to_anndata`.
    variant
        How to fit: a name of the table in ``docs/own_data.md``, or a mapping as ``config.yaml`` has it.
    n_background, n_salient
        Dimensions of the blocks.
    n_members
        Fits with different seeds, trained together. Two or more are needed for :meth:`stability`.
    likelihood
        Law of the observations: a name (``negative_binomial``, ``poisson``, ``gaussian``, ``bernoulli``) or a
        mapping.
    n_genes
        Genes to use, the most variable; ``"all"``; None for all where they are at most 5,000.
    held_out
        Share of the cells of each source that is not trained on.
    seed
        Seed of the first member; the others count up from it. It draws the held-out cells too.
    model
        Changes of the architecture, as ``config.yaml`` has them: ``{"decoder_hidden": [128]}``.

    Raises
    ------
    UserError
        If an argument is wrong or the data do not suit the likelihood: one line that says what and why.

    Examples
    --------
    >>> cdgm.ComparativeVAE.setup_anndata(adata, source_key="condition", background="ctrl")
    >>> model = cdgm.ComparativeVAE(adata, n_members=4)
    >>> model.train()
    >>> adata.obsm["X_salient"] = model.get_latent_representation("salient")
    """

    @staticmethod
    def variants() -> list[str]:
        """Names of the variants that come with the package."""
        return settings.variant_names()

    @staticmethod
    def setup_anndata(
        adata: AnnData,
        source_key: str,
        background: str | Sequence[str],
        layer: str | None = None,
        labels_key: str | None = None,
    ) -> None:
        """Say what is what in an AnnData object; kept in ``adata.uns["_cdgm"]``, nothing else is changed.

        Parameters
        ----------
        adata
            The object: in memory or opened in backed mode, but no view.
        source_key
            Column of ``obs`` that tells background and target apart.
        background
            Its value, or values, that make the background. All other cells are the target.
        layer
            Layer with the observations (raw counts for the usual likelihoods); ``adata.X`` by default.
        labels_key
            Column of ``obs`` with labels that scores ask about: never seen in training.

        Raises
        ------
        UserError
            If something is not there, a cell has no source, or gene names repeat.
        """
        anndata_input.setup_anndata(adata, source_key, background, layer, labels_key)

    def __init__(
        self,
        adata: AnnData,
        variant: str | Mapping[str, Any] = "mo-co-cvae",
        n_background: int = 10,
        n_salient: int = 10,
        n_members: int = 1,
        likelihood: str | Mapping[str, Any] = "negative_binomial",
        n_genes: int | str | None = None,
        held_out: float = 0.1,
        seed: int = 0,
        model: Mapping[str, Any] | None = None,
    ) -> None:
        registration = anndata_input.Registration.of(adata)
        law = settings.likelihood(likelihood)
        observed = anndata_input.observe(adata, registration, law.support, n_genes)
        design = Design.model_validate(settings.defaults()["design"])
        dims = {"background": n_background, "salient": n_salient}
        self._set_up(observed, design, dims, variant, law, n_members, held_out, seed, model, True)
        self.adata: AnnData | None = adata

    @classmethod
    def from_arrays(
        cls,
        data: Mapping[str, Any],
        variant: str | Mapping[str, Any] = "mo-co-cvae",
        n_background: int = 10,
        n_salient: int = 10,
        n_members: int = 1,
        likelihood: str | Mapping[str, Any] = "gaussian",
        labels: Mapping[str, Sequence[Any]] | None = None,
        features: Sequence[str] | None = None,
        standardise: bool = True,
        design: Mapping[str, Any] | None = None,
        dims: Mapping[str, int] | None = None,
        held_out: float = 0.1,
        seed: int = 0,
        model: Mapping[str, Any] | None = None,
    ) -> ComparativeVAE:
        """A model of arrays.

        Parameters
        ----------
        data
            Source to array (rows, features). Of two sources the first is the background.
        variant, n_background, n_salient, n_members, likelihood, held_out, seed, model
            As in the class.
        labels
            Source to a label of each row, for scores.
        features
            Names of the features.
        standardise
            Real values only: give each feature mean 0 and standard deviation 1 before fitting, as the model
            expects about that size. Latents do not care; the ELBO is that of the standardised values.
        design, dims
            Other sources and blocks than a background and a salient block, as in ``config.yaml``:
            ``{"sources": [...], "blocks": {block: [sources that it drives]}}``, and the dimension of each
            block.
        """
        law = settings.likelihood(likelihood)
        observed = arrays.observe_arrays(data, law.support, labels, features)
        sources = list(observed.x)
        if design is None:
            if len(sources) != 2:
                raise bad_input(
                    "arrays", "sources", sources, "two, or a design= that says which blocks drive which"
                )
            design = {"sources": sources, "blocks": {"background": sources, "salient": sources[1:]}}
            dims = {"background": n_background, "salient": n_salient} if dims is None else dims
        parsed = settings.validated(Design, dict(design), "design")
        if set(parsed.sources) != set(sources):
            raise bad_input("design", "sources", list(parsed.sources), f"the sources of the data: {sources}")
        if dims is None or set(dims) != set(parsed.blocks):
            raise bad_input("dims", "", dims, f"a dimension for each block: {list(parsed.blocks)}")
        self = cls.__new__(cls)
        self._set_up(observed, parsed, dims, variant, law, n_members, held_out, seed, model, standardise)
        self.adata = None
        return self

    def _set_up(
        self,
        observed: Observed,
        design: Design,
        dims: Mapping[str, int],
        variant: str | Mapping[str, Any],
        law: Any,
        n_members: int,
        held_out: float,
        seed: int,
        changes: Mapping[str, Any] | None,
        standardise: bool,
    ) -> None:
        self.observed, self.variant = observed, settings.variant(variant)
        self.split: Split = split_rows(observed, held_out, seed)
        for name, value, least in (("n_members", n_members, 1), ("seed", seed, 0)):
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
                raise bad_input(name, "", value, f"a whole number of at least {least}")
        self.seeds = tuple(range(int(seed), int(seed) + int(n_members)))
        kind = settings.CELLS if law.support == "counts" else settings.ARRAYS
        self._base = settings.base_for(kind, sum(map(len, self.split.train.values())))
        self.model_spec = settings.model_spec(self._base, design, dims, law, changes or {})
        try:
            self.variant.check_design(design)
        except ValueError as error:
            raise UserError(f"variant: {error}") from None
        self.scaling = Scaling.of(self._take("train"), law.support == "real" and standardise)
        self._fitted: Fitted | None = None

    def train(
        self,
        max_steps: int | None = None,
        max_epochs: float | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        progress_bar: bool = True,
    ) -> None:
        """Fit all members.

        The learning rate rises and falls once over the whole of the training (a one-cycle schedule), so
        there is no stopping early: compare the ELBOs of :meth:`get_elbo` on ``train`` and ``held_out`` rows
        instead.

        Parameters
        ----------
        max_steps
            Optimiser steps; 3,000 by default.
        max_epochs
            The same in passes over the largest source.
        batch_size
            Rows of *each* source in a step.
        learning_rate
            Peak of the schedule.
        progress_bar
            Whether to show one on a terminal or in a notebook.
        """
        from cdgm.training import train

        training = dict(self._base["training"])
        training |= {
            k: v for k, v in (("batch_size", batch_size), ("learning_rate", learning_rate)) if v is not None
        }
        rows = max(map(len, self.split.train.values()))
        # More rows than there are would only repeat some of them within a batch.
        if batch_size is None:
            training["batch_size"] = min(training["batch_size"], min(map(len, self.split.train.values())))
        training["steps"] = settings.steps_of(
            max_steps, max_epochs, rows, training["batch_size"], training["steps"]
        )
        training["log_every"] = max(1, min(training["log_every"], training["steps"] // 20))
        spec = settings.fit_spec(self.model_spec, self.variant, training, self.seeds)
        with _bar(training["steps"], progress_bar) as advance:
            trained = train(spec, self._stack("train"), [0] * len(self.seeds), advance)
        self._fitted = Fitted(spec, trained.model, trained.finite, trained.history)
        for seed, finite in zip(self.seeds, trained.finite, strict=True):
            if not finite:
                logger.warning("member with seed %d diverged and is left out of all results", seed)

    def _take(self, which: str) -> dict[str, np.ndarray]:
        """Rows of a split, as they came."""
        if which == ALL:
            return dict(self.observed.x)
        return {source: self.observed.x[source][rows] for source, rows in self.split.positions(which).items()}

    def _stack(self, which: str) -> dict[str, np.ndarray]:
        """Rows of a split as the model sees them, (1, n, D) each."""
        return {source: self.scaling.apply(x)[None] for source, x in self._take(which).items()}

    @property
    def fitted(self) -> Fitted:
        """The trained stack.

        Raises
        ------
        UserError
            Before :meth:`train`.
        """
        if self._fitted is None:
            raise UserError("this model is not trained: call model.train() first")
        return self._fitted

    @property
    def history(self) -> pd.DataFrame:
        """What happened in training: member's seed, step, quantity, source, block, value."""
        from cdgm.tables import long_history

        return long_history(self.fitted.history, self.fitted.spec.members).drop(columns="point")

    def get_latent_representation(
        self, block: str = "salient", source: str | None = None, member: int | str = 0
    ) -> np.ndarray:
        """Posterior means of a block, one row a cell in the order of the data.

        Parameters
        ----------
        block
            ``"background"`` or ``"salient"``.
        source
            Cells of one source only; by default of all. Of cells that a block does not drive (background
            cells and the salient block) this is what its encoder says when it sees them: to look at, no part
            of it.
        member
            Which fit; ``"all"`` gives (members, cells, dimensions).

        Returns
        -------
        ndarray
            (cells, dimensions).
        """
        design = self.model_spec.design
        if block not in design.blocks:
            raise bad_input("block", "", block, f"one of {list(design.blocks)}")
        if source is not None and source not in design.sources:
            raise bad_input("source", "", source, f"one of {list(design.sources)}")
        sources = design.sources if source is None else (source,)
        means = {s: self.fitted.means({s: self._stack(ALL)[s]})[s, block] for s in sources}
        whole = means[source] if source is not None else self.observed.ordered(means, axis=1)
        return whole if member == "all" else whole[self.fitted.check_member(member)]

    def get_elbo(self, split: str = "held_out", draws: int | None = None) -> pd.DataFrame:
        """Evidence lower bound of each member and source, and what each block costs of it, nats a row.

        Parameters
        ----------
        split
            ``"held_out"``, ``"train"`` or ``"all"``.
        draws
            Posterior samples a row.

        Returns
        -------
        DataFrame
            member, seed, finite, split, source, rows, elbo, and ``kl_<block>`` for each block.
        """
        from cdgm.api.scores import elbo_table

        return elbo_table(self, split, draws or self._base["evaluation"]["elbo_draws"])

    def get_leakage(self, member: int | str = "all", split: str | None = None) -> pd.DataFrame:
        """What can be said about leakage without a truth; see :func:`cdgm.api.scores.leakage_table`."""
        from cdgm.api.scores import leakage_table

        return leakage_table(
            self, member, split or self.split.scored(), self._base["evaluation"]["null_draws"]
        )

    def stability(self, split: str | None = None) -> pd.DataFrame:
        """How far members agree on each block; see :func:`cdgm.api.stability.stability_table`."""
        from cdgm.api.stability import stability_table

        return stability_table(self, split or self.split.scored(), self._base["evaluation"]["null_draws"])

    def rank_genes(
        self, block: str | None = None, label: str | None = None, cells: int = 5_000
    ) -> pd.DataFrame:
        """Features that a private block moves; see :func:`cdgm.api.ranking.ranking_table`."""
        from cdgm.api.ranking import ranking_table

        return ranking_table(self, block, label, cells)

    def to_anndata(self, member: int = 0) -> AnnData:
        """Latents and a summary in the AnnData object; see :func:`cdgm.api.export.to_anndata`."""
        from cdgm.api.export import to_anndata

        return to_anndata(self, member)

    def save(self, folder: str | Path, overwrite: bool = False) -> None:
        """Write the trained model to a folder, as arrays and JSON; see :func:`cdgm.api.storage.save`."""
        from cdgm.api.storage import save

        save(self, folder, overwrite)

    @classmethod
    def load(cls, folder: str | Path, data: Any) -> ComparativeVAE:
        """Read a model, with the AnnData object or the arrays that it was fitted to.

        Raises
        ------
        UserError
            If the folder holds no model, or the data are not those of the model.
        """
        from cdgm.api.storage import load

        return load(cls, folder, data)

    def __repr__(self) -> str:
        sizes = ", ".join(f"{len(x):,} {source}" for source, x in self.observed.x.items())
        dims = ", ".join(f"{block} {size}" for block, size in self.model_spec.dims.items())
        state = f"trained for {self._fitted.spec.training.steps:,} steps" if self._fitted else "not trained"
        return (
            f"ComparativeVAE({sizes} rows; {len(self.observed.features):,} features; dimensions: {dims}; "
            f"{len(self.seeds)} member{'s' * (len(self.seeds) > 1)}; {state})"
        )


class _bar:
    """A progress bar where someone can see it."""

    def __init__(self, total: int, wanted: bool) -> None:
        self.total = total
        self.shown = wanted and (sys.stderr.isatty() or "ipykernel" in sys.modules)

    def __enter__(self) -> Any:
        from tqdm import tqdm

        self.bar = tqdm(total=self.total, unit="steps", desc="training", disable=not self.shown)
        return self.bar.update

    def __exit__(self, *_: object) -> None:
        self.bar.close()
