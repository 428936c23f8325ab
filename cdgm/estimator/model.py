"""The public class for a user's own data: set up, train, save and load a comparative model."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cdgm.config.design import Design
from cdgm.config.validation import validated
from cdgm.data.covariates import Categorical, Continuous, learn
from cdgm.estimator import anndata_input, model_folder, specification
from cdgm.estimator.defaults import variant_names
from cdgm.estimator.early_stopping import EarlyStopping
from cdgm.estimator.ensemble import Ensemble
from cdgm.estimator.observations import OBS, Observations, Scaling
from cdgm.estimator.queries import Queries
from cdgm.estimator.split import TRAIN, VALIDATION, Split
from cdgm.procedures.restarts import SHARE
from cdgm.utils.errors import UserError, bad_input
from cdgm.utils.folders import atomic_folder
from cdgm.utils.progress import progress

if TYPE_CHECKING:
    from anndata import AnnData

logger = logging.getLogger(__name__)


class ComparativeModel(Queries):
    """A comparative variational autoencoder of background and target cells, with several members.

    The *background* block holds what both kinds of cells share, the *salient* block what only the target has.

    Parameters
    ----------
    data
        An AnnData object after :meth:`setup_anndata`, kept for :meth:`to_anndata`; :meth:`from_arrays` passes
        its checked arrays.
    variant
        How to fit: a name of the table in ``docs/own_data.md``, or a mapping as in ``config.yaml``.
    n_background, n_salient
        Dimensions of the blocks.
    n_members
        Number of fits with different seeds, trained together. :meth:`stability` needs two or more.
    likelihood
        Distribution of the observations: a name (``negative_binomial``, ``poisson``, ``gaussian``,
        ``bernoulli``) or a mapping.
    n_genes
        Number of genes to use, the most variable ones; ``"all"``; None for all if there are at most 5,000.
    held_out
        Share of the cells of each source that is not trained on.
    seed
        Seed of the first member; the others count up from it. It also draws the held-out cells.
    model
        Changes to the architecture, as in ``config.yaml``: ``{"decoder_hidden": [128]}``, or
        ``{"hidden_norm": "layer", "dropout": 0.1}`` to keep wide networks upright. Covariates of
        :meth:`setup_anndata` enter the decoder; with ``{"encode_covariates": True}`` the encoders too.
    standardise
        For real values only: scale each feature to mean 0 and standard deviation 1 before fitting, the size
        that the model's learned noise starts from. The ELBO is that of the scaled values.
    design, dims
        Sources and blocks other than a background and a salient block, as in ``config.yaml``:
        ``{"sources": [...], "blocks": {block: [sources that it drives]}}``, and the dimension of each block.
    within_batches
        Compare cells for HSIC and MMD, and shuffle them for the nulls of levels, only within the batch (and
        the other categorical covariates), which the model has to be told of.

    Attributes
    ----------
    observations
        The data, see :class:`cdgm.estimator.observations.Observations`.
    split
        Rows to train on and held-out rows, see :class:`cdgm.estimator.split.Split`.
    scaling
        Scaling of values before the network sees them.
    variant, model_spec, seeds
        How to fit, the architecture, and the seed of each member.
    covariates
        Encoding of the covariates (:mod:`cdgm.data.covariates`); empty without.

    Raises
    ------
    UserError
        If an argument is wrong or the data do not suit the likelihood: one line that names both.

    Examples
    --------
    >>> cdgm.ComparativeModel.setup_anndata(adata, source_key="condition", background="ctrl")
    >>> model = cdgm.ComparativeModel(adata, n_members=4)
    >>> model.train()
    >>> adata.obsm["X_salient"] = model.get_latent_representation("salient")
    """

    def __init__(
        self,
        data: AnnData | Observations,
        variant: str | Mapping[str, Any] = "mo-co-cvae",
        n_background: int = 10,
        n_salient: int = 10,
        n_members: int = 1,
        likelihood: str | Mapping[str, Any] = "negative_binomial",
        n_genes: int | str | None = None,
        held_out: float = 0.1,
        seed: int = 0,
        model: Mapping[str, Any] | None = None,
        standardise: bool = True,
        design: Mapping[str, Any] | None = None,
        dims: Mapping[str, int] | None = None,
        within_batches: bool = False,
    ) -> None:
        distribution = specification.parse_likelihood(likelihood)
        support = distribution.support
        if not isinstance(data, Observations):
            data = anndata_input.observe(data, anndata_input.Registration.of(data), support, n_genes)
        sources = list(data.x)
        given = design is not None
        if design is None:
            if len(sources) != 2:
                expected = "two, or a design= that says which blocks drive which"
                raise bad_input("arrays", "sources", sources, expected)
            design = {"sources": sources, "blocks": {"background": sources, "salient": sources[1:]}}
            if dims is not None:
                raise bad_input("dims", "", dims, "n_background= and n_salient=, or a design= beside it")
            sizes = {"background": n_background, "salient": n_salient}
            most = specification.MOST_DIMENSIONS
            dims = {b: specification.whole_number(f"n_{b}", "", size, 1, most) for b, size in sizes.items()}
        design = specification.as_mapping("design", design, "a mapping of sources and blocks")
        blocks = validated(Design, design, "design")
        if given and (n_background, n_salient) != (10, 10):
            raise bad_input(
                "n_background, n_salient", "", (n_background, n_salient), "dims=, beside a design="
            )
        if set(blocks.sources) != set(sources):
            raise bad_input("design", "sources", list(blocks.sources), f"the sources of the data: {sources}")
        if not isinstance(dims, Mapping) or set(dims) != set(blocks.blocks):
            raise bad_input("dims", "", dims, f"a dimension for each block: {list(blocks.blocks)}")
        if not isinstance(standardise, bool):
            raise bad_input("standardise", "", standardise, "True or False")
        members = specification.whole_number("n_members", "", n_members, 1, specification.MOST_MEMBERS)
        seed = specification.whole_number("seed", "", seed, 0, specification.LARGEST_SEED)
        self.observations = data
        self.variant = specification.parse_variant(variant)
        if within_batches:
            kinds = {} if data.registration is None else data.registration.covariate_kinds
            self.variant = specification.within_batches(self.variant, kinds)
        self.seeds = tuple(range(seed, seed + members))
        self.split = Split.draw({source: len(x) for source, x in data.x.items()}, held_out, seed)
        train = data.select(self.split.rows(TRAIN))
        self.protocol = specification.protocol(support, sum(map(len, train.values())))
        self.covariates = self._learn_covariates(self.split)
        names = [covariate.name for covariate in self.covariates]
        self.model_spec = specification.model_spec(
            self.protocol, blocks, dims, distribution, {} if model is None else model, names
        )
        try:
            self.variant.check_design(blocks)
        except ValueError as error:
            raise UserError(f"variant: {error}") from None
        self.scaling = Scaling.of(train, support == "real" and standardise)
        self.scaling.require_precision(train, data.features)
        self._ensemble: Ensemble | None = None

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
        **options: Any,
    ) -> ComparativeModel:
        """Make a model of arrays.

        Parameters
        ----------
        data
            Source to array (rows, features). Of two sources the first is the background.
        variant, n_background, n_salient, n_members, likelihood
            As in the class.
        labels
            Source to a label of each row, for scores.
        features
            Names of the features.
        options
            Further arguments of the class: ``held_out``, ``seed``, ``model``, ``standardise``, ``design`` and
            ``dims``.
        """
        support = specification.parse_likelihood(likelihood).support
        observations = Observations.from_arrays(data, support, labels, features)
        return cls(observations, variant, n_background, n_salient, n_members, likelihood, **options)

    @staticmethod
    def setup_anndata(
        adata: AnnData,
        source_key: str,
        background: str | Sequence[str],
        layer: str | None = None,
        labels_key: str | None = None,
        batch_key: str | None = None,
        categorical_covariate_keys: Sequence[str] | None = None,
        continuous_covariate_keys: Sequence[str] | None = None,
        check_batch_key: str | None = None,
    ) -> None:
        """Register which cells and values of an AnnData object to use, in ``adata.uns["_cdgm"]``.

        Parameters
        ----------
        adata
            The object, in memory or opened in backed mode, but not a view. Nothing else in it changes.
        source_key
            Column of ``obs`` that separates background and target.
        background
            Value or values of the background. All other cells are the target.
        layer
            Layer with the observations (raw counts for the usual likelihoods); ``adata.X`` by default.
        labels_key
            Column of ``obs`` with labels for scores; training never uses them.
        batch_key
            Column of ``obs`` with batches or donors, which the decoder is told so that no block has to hold
            them. Scores tell how far blocks know the batch all the same, and permute within batches.
        categorical_covariate_keys, continuous_covariate_keys
            Further columns that the decoder is told: categories, and numbers.
        check_batch_key
            Column of ``obs`` with batches or donors that the model is not told. Scores and the report judge
            them as they judge those of ``batch_key``, in its place.

        Raises
        ------
        UserError
            If something is missing, a cell has no source, gene names repeat, or a column is named twice.
        """
        anndata_input.setup_anndata(
            adata,
            source_key,
            background,
            layer,
            labels_key,
            batch_key,
            categorical_covariate_keys,
            continuous_covariate_keys,
            check_batch_key,
        )

    @staticmethod
    def variants() -> list[str]:
        """Names of the variants that come with the package."""
        return variant_names()

    def train(
        self,
        max_steps: int | None = None,
        max_epochs: float | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        progress_bar: bool = True,
        early_stopping: bool | None = None,
        early_stopping_patience: int | None = None,
        early_stopping_min_delta: float | None = None,
        early_stopping_share: float | None = None,
        device: str = "cpu",
        n_starts: int = 1,
        weight_decay: float | None = None,
    ) -> None:
        """Fit all members, side by side on the cores of this machine.

        The learning rate rises and falls once over the whole training (a one-cycle schedule), with early
        stopping too, which therefore guards against overfitting but saves no time without it: see
        ``docs/own_data.md``.

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
            Show a bar on a terminal or in a notebook.
        early_stopping
            Set training rows aside (a third part, ``validation``), end the training of a member when their
            ELBO stops rising, and keep the parameters at which it was highest. Held-out rows stay unseen. By
            default wherever each source has 200 training rows.
        early_stopping_patience
            Checks in a row without an improvement after which a member stops; a fifth of all checks by
            default. Each record of :attr:`history` is a check, every 25 steps or so.
        early_stopping_min_delta
            Rise in nats a row that counts as an improvement; 0 by default.
        early_stopping_share
            Share of each source's training rows to set aside, 500 rows at most; 0.1 by default.
        device
            Where to train: ``cpu``, ``cuda``, or ``auto`` for a GPU where there is one.
        n_starts
            Fit each member from so many starts, and keep the one whose validation ELBO is highest (mean over
            sources). More than one sets training rows aside as early stopping does. See
            :attr:`Ensemble.starts` of :attr:`ensemble` for the ELBO of each.
        weight_decay
            Share times the learning rate that weights lose in each step (AdamW); none by default. For small
            sets: see ``docs/own_data.md``.

        Raises
        ------
        UserError
            If an argument is wrong, or a source has too few rows to set some aside.
        """
        if not isinstance(progress_bar, bool):
            raise bad_input("train", "progress_bar", progress_bar, "True or False")
        n_starts = specification.whole_number("train", "n_starts", n_starts, 1, specification.MOST_STARTS)
        whole = self.split.set_aside(0, self.seeds[0]).rows(TRAIN)
        rule = EarlyStopping.requested(
            early_stopping,
            min(map(len, whole.values())),
            patience=early_stopping_patience,
            min_delta=early_stopping_min_delta,
            share=early_stopping_share,
        )
        if rule or n_starts == 1:
            split = self.split.set_aside(rule.share if rule else 0, self.seeds[0])
        else:
            split = self.split.set_aside(SHARE, self.seeds[0], ("n_starts", n_starts))
        x = self.observations.select(split.rows(TRAIN))
        training = specification.training_values(
            self.protocol,
            list(map(len, x.values())),
            max_steps,
            max_epochs,
            batch_size,
            learning_rate,
            device,
            weight_decay,
        )
        spec = specification.fit_spec(self.model_spec, self.variant, training, self.seeds)
        # The scale is that of training rows: validation rows have no part in it.
        scaling = Scaling.of(x, self.scaling.centre is not None)
        covariates = self._learn_covariates(split)
        aside = rule or n_starts > 1
        validation = scaling.apply(self.observations.select(split.rows(VALIDATION))) if aside else None
        steps = spec.training.steps * len(self.seeds) * n_starts
        until = ", or until their validation ELBO stops rising" if rule else ""
        each = f", {n_starts} starts each," if n_starts > 1 else ""
        logger.info("training %d members%s for %d steps%s", len(self.seeds), each, spec.training.steps, until)
        with progress("training", steps, "steps of members", bar=progress_bar, keep=True) as advance:
            ensemble = Ensemble.train(
                spec,
                scaling.apply(x),
                advance,
                rule,
                validation,
                n_starts,
                self.observations.encoded(covariates, split.rows(TRAIN)),
                self.observations.encoded(covariates, split.rows(VALIDATION)) if aside else None,
            )
        self.split, self.scaling, self.ensemble, self.covariates = split, scaling, ensemble, covariates
        for seed, finite in zip(self.seeds, ensemble.finite, strict=True):
            if not finite:
                logger.warning("member with seed %d diverged and is left out of all results", seed)
        for part in (ensemble.stopping, ensemble.starts):
            for sentence in part.sentences(self.seeds) if part else ():
                logger.info("%s", sentence)

    def _learn_covariates(self, split: Split) -> tuple[Categorical | Continuous, ...]:
        """Encoding of the covariates by the training rows of a split."""
        own = self.observations
        if own.registration is None:
            return ()
        training = own.marked(split.rows(TRAIN))
        found = learn(own.registration.covariate_kinds, own.covariates, training, OBS, own.names)
        for covariate in found:
            if covariate.kind == "categorical":
                unseen = set(covariate.categories) - set(own.covariates[covariate.name][training])
                if unseen:
                    logger.warning("%s: no training rows of %s", covariate.name, sorted(unseen))
        return found

    def save(self, folder: str | Path, overwrite: bool = False) -> None:
        """Save the trained model to a folder, whole or not at all; see :mod:`cdgm.estimator.model_folder`.

        Parameters
        ----------
        folder
            Where to.
        overwrite
            Replace a folder that is not empty, if it is still as cdgm wrote it.
        """
        adata = self.observations.adata
        inputs = [adata.filename] if adata is not None and adata.filename is not None else []
        with atomic_folder(folder, overwrite, inputs) as place:
            model_folder.write_model(self, place)

    @classmethod
    def load(
        cls,
        folder: str | Path,
        data: Any,
        labels_key: str | None = None,
        check_batch_key: str | None = None,
    ) -> ComparativeModel:
        """Load a saved model, with the AnnData object or the arrays that it was fitted to.

        Parameters
        ----------
        folder
            Written by :meth:`save`, or ``model`` in the results of ``cdgm fit``.
        data
            The data, same rows in the same order.
        labels_key
            Column of ``obs`` to score in place of the one that was set up.
        check_batch_key
            Column of ``obs`` with the batches or donors to score, likewise.

        Raises
        ------
        UserError
            If the folder holds no model, or the data are not those of the model.
        """
        return model_folder.load(
            cls, Path(folder), data, {"labels_key": labels_key, "check_batch_key": check_batch_key}
        )

    def __repr__(self) -> str:
        sizes = ", ".join(f"{len(x):,} {source}" for source, x in self.observations.x.items())
        dims = ", ".join(f"{block} {size}" for block, size in self.model_spec.dims.items())
        names = ", ".join(covariate.name for covariate in self.covariates)
        covariates = f"covariates: {names}; " if names else ""
        state = "not trained"
        if self._ensemble is not None:
            state = f"trained for {self._ensemble.spec.training.steps:,} steps"
            state = state if self._ensemble.stopping is None else str(self._ensemble.stopping)
        return (
            f"ComparativeModel({sizes} rows; {len(self.observations.features):,} features; dimensions: "
            f"{dims}; {covariates}{len(self.seeds)} member{'s' * (len(self.seeds) > 1)}; {state})"
        )
