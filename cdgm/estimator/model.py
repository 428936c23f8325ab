"""The model of a user's own data: fit it, look into it, check it, keep it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cdgm.config.design import Design
from cdgm.config.validation import validated
from cdgm.estimator import anndata_input, arrays, settings
from cdgm.estimator.observed import Observed
from cdgm.estimator.trainable import Trainable
from cdgm.utils.errors import bad_input

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData


class ComparativeVAE(Trainable):
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
        self.adata, self.registration = adata, registration

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
        parsed = validated(Design, dict(design), "design")
        if set(parsed.sources) != set(sources):
            raise bad_input("design", "sources", list(parsed.sources), f"the sources of the data: {sources}")
        if dims is None or set(dims) != set(parsed.blocks):
            raise bad_input("dims", "", dims, f"a dimension for each block: {list(parsed.blocks)}")
        self = cls.__new__(cls)
        self._set_up(observed, parsed, dims, variant, law, n_members, held_out, seed, model, standardise)
        return self

    def get_latent_representation(
        self,
        block: str = "salient",
        source: str | None = None,
        member: int | str = 0,
        data: AnnData | Mapping[str, Any] | None = None,
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
        data
            Other cells with the same genes (or arrays with the same features), of one source or several; by
            default those that the model was made with.

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
        observed = self.observed if data is None else self._observe_other(data)
        if source is not None and source not in observed.x:
            raise bad_input("source", "", source, f"a source of these data: one of {list(observed.x)}")
        sources = list(observed.x) if source is None else [source]
        stack = {s: self.scaling.apply(observed.x[s])[None] for s in sources}
        means = {s: self.fitted.means({s: x})[s, block] for s, x in stack.items()}
        whole = means[source] if source is not None else observed.ordered(means, axis=1)
        return whole if member == "all" else whole[self.fitted.check_member(member)]

    def _observe_other(self, data: AnnData | Mapping[str, Any]) -> Observed:
        """Other rows, seen through the features of this model."""
        support, features = self.model_spec.likelihood.support, self.observed.features
        if self.registration is not None:
            return anndata_input.observe(data, self.registration, support, None, features, both=False)
        observed = arrays.observe_arrays(data, support, least=1)
        unknown = sorted(set(observed.x) - set(self.model_spec.design.sources))
        if unknown:
            raise bad_input("data", "source", unknown[0], f"one of {list(self.model_spec.design.sources)}")
        if len(observed.features) != len(features):
            found = len(observed.features)
            raise bad_input("data", "features", found, f"{len(features)}, as the model has")
        return observed

    def get_elbo(self, split: str = "held_out", draws: int | None = None) -> pd.DataFrame:
        """Evidence lower bound of each member and source, and what each block costs of it, nats a row.

        Parameters
        ----------
        split
            ``"held_out"``, ``"train"``, ``"all"``, or ``"validation"`` after early stopping.
        draws
            Posterior samples a row.

        Returns
        -------
        DataFrame
            member, seed, finite, split, source, rows, elbo, and ``kl_<block>`` for each block.
        """
        from cdgm.estimator.scores import elbo_table

        return elbo_table(self, split, draws or self.base["evaluation"]["elbo_draws"])

    def get_leakage(self, member: int | str = "all", split: str | None = None) -> pd.DataFrame:
        """What can be said about leakage without a truth; see :func:`cdgm.estimator.scores.leakage_table`."""
        from cdgm.estimator.scores import leakage_table

        return leakage_table(
            self, member, split or self.split.scored(), self.base["evaluation"]["null_draws"]
        )

    def stability(self, split: str | None = None) -> pd.DataFrame:
        """How far members agree on each block; see :func:`cdgm.estimator.stability.stability_table`."""
        from cdgm.estimator.stability import stability_table

        return stability_table(self, split or self.split.scored(), self.base["evaluation"]["null_draws"])

    def rank_genes(
        self, block: str | None = None, label: str | None = None, cells: int = 5_000
    ) -> pd.DataFrame:
        """Features that a private block moves; see :func:`cdgm.estimator.ranking.ranking_table`."""
        from cdgm.estimator.ranking import ranking_table

        return ranking_table(self, block, label, cells)

    def to_anndata(self, member: int = 0) -> AnnData:
        """Latents and a summary in the AnnData object; see :func:`cdgm.estimator.export.to_anndata`."""
        from cdgm.estimator.export import to_anndata

        member = self.fitted.check_member(member)
        blocks = self.model_spec.design.blocks
        latents = {block: self.get_latent_representation(block, member=member) for block in blocks}
        return to_anndata(self, member, latents, self.get_elbo())

    def save(self, folder: str | Path, overwrite: bool = False) -> None:
        """Write the trained model to a folder; see :func:`cdgm.estimator.storage.save`."""
        from cdgm.estimator.storage import save

        save(self, folder, overwrite)

    @classmethod
    def load(cls, folder: str | Path, data: Any) -> ComparativeVAE:
        """Read a model, with the AnnData object or the arrays that it was fitted to.

        Raises
        ------
        UserError
            If the folder holds no model, or the data are not those of the model.
        """
        from cdgm.estimator.storage import load

        return load(cls, folder, data)
