"""Questions to a trained model: latents, scores, genes, and the annotated AnnData object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from cdgm.config.model import ModelSpec
from cdgm.data.covariates import Categorical, Continuous
from cdgm.estimator import anndata_input
from cdgm.estimator.differential_expression import Comparison, differential_expression_table
from cdgm.estimator.ensemble import Ensemble
from cdgm.estimator.gene_ranking import ranking_table
from cdgm.estimator.observations import Observations, Scaling
from cdgm.estimator.scores import elbo_table, leakage_table, stability_table
from cdgm.estimator.specification import MOST_DRAWS, whole_number
from cdgm.estimator.split import HELD_OUT, Split
from cdgm.utils.errors import UserError, bad_input

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData


class Queries:
    """Methods of :class:`cdgm.estimator.model.ComparativeModel` that ask a trained model.

    Attributes
    ----------
    observations, split, scaling, covariates, protocol, model_spec, seeds
        See there.
    """

    observations: Observations
    split: Split
    scaling: Scaling
    covariates: tuple[Categorical | Continuous, ...]
    protocol: dict[str, Any]
    model_spec: ModelSpec
    seeds: tuple[int, ...]
    _ensemble: Ensemble | None

    @property
    def is_trained(self) -> bool:
        """Whether :meth:`train` has finished."""
        return self._ensemble is not None

    @property
    def ensemble(self) -> Ensemble:
        """Trained members (:class:`cdgm.estimator.ensemble.Ensemble`); before :meth:`train` a UserError."""
        if self._ensemble is None:
            raise UserError("this model is not trained: call model.train() first")
        return self._ensemble

    @ensemble.setter
    def ensemble(self, ensemble: Ensemble | None) -> None:
        self._ensemble = ensemble

    @property
    def history(self) -> pd.DataFrame:
        """Records of training: member's seed, step, quantity, source, block, value.

        With early stopping there is the quantity ``elbo_validation``, a mean over sources; the values of a
        member after it stopped are NaN.
        """
        from cdgm.evaluation.study_tables import long_history

        # In the order of a file: a saved model gives the same table.
        history = {name: self.ensemble.history[name] for name in sorted(self.ensemble.history)}
        return long_history(history, self.ensemble.spec.members).drop(columns="point")

    def network_input(self, split: str) -> dict[str, np.ndarray]:
        """Rows of ``train``, ``held_out`` or ``all`` as the network takes them: source to (1, n, D)."""
        return self.scaling.apply(self.observations.select(self.split.rows(split)))

    def network_covariates(self, split: str) -> dict[str, np.ndarray] | None:
        """Covariates of the rows of :meth:`network_input`, source to (1, n, C); None without."""
        return self.observations.encoded(self.covariates, self.split.rows(split))

    def posterior_means(self, split: str) -> dict[tuple[str, str], np.ndarray]:
        """Posterior means of all members for rows of a split: (source, block) to (E, n, d)."""
        return self.ensemble.means(self.network_input(split), self.network_covariates(split))

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
            Cells of one source only; by default of all. For cells that a block does not drive (background
            cells and the salient block) this is the output of its encoder: to look at, not part of the model.
        member
            Which fit; ``"all"`` gives (members, cells, dimensions).
        data
            Other cells with the same genes (or arrays with the same features), of one source or several; by
            default the model's own. They need the covariates of the model, and no unknown category.

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
        observations = self.observations if data is None else self._other(data)
        if source is not None and source not in observations.x:
            raise bad_input("source", "", source, f"a source of these data: one of {list(observations.x)}")
        rows = observations.x if source is None else {source: observations.x[source]}
        inputs = self.scaling.apply(rows)
        for name, values in inputs.items() if data is not None else ():
            if values.dtype.kind == "f" and not np.isfinite(values).all():
                expected = "values that float32 can hold once they are scaled as those of the fit"
                raise bad_input("data", name, float(np.abs(rows[name]).max()), expected)
        every = {name: np.arange(len(x)) for name, x in rows.items()}
        covariates = observations.encoded(self.covariates, every)
        means = {s: self.ensemble.means({s: x}, covariates)[s, block] for s, x in inputs.items()}
        whole = observations.ordered(means, axis=1) if source is None else means[source]
        return whole if member == "all" else whole[self.ensemble.check_member(member)]

    def _other(self, data: AnnData | Mapping[str, Any]) -> Observations:
        """Other rows with the features of this model."""
        own, design = self.observations, self.model_spec.design
        support = self.model_spec.likelihood.support
        if own.registration is not None:
            adata = cast("AnnData", data)
            return anndata_input.observe(adata, own.registration, support, None, own.features, both=False)
        frames = isinstance(data, Mapping) and any(hasattr(x, "columns") for x in data.values())
        names = own.features.tolist() if frames else None
        other = Observations.from_arrays(cast("Mapping[str, Any]", data), support, None, names, least=1)
        unknown = sorted(set(other.x) - set(design.sources))
        if unknown:
            raise bad_input("data", "source", unknown[0], f"one of {list(design.sources)}")
        if len(other.features) != len(own.features):
            raise bad_input("data", "features", len(other.features), f"{len(own.features)}, as the model has")
        return other

    def get_elbo(self, split: str = HELD_OUT, draws: int | None = None) -> pd.DataFrame:
        """Evidence lower bound of each member and source, and the KL of each block, nats a row.

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
        if draws is None:
            draws = self.protocol["evaluation"]["elbo_draws"]
        return elbo_table(self, split, whole_number("draws", "", draws, 1, MOST_DRAWS))

    def get_leakage(self, member: int | str = "all", split: str | None = None) -> pd.DataFrame:
        """Traces of leakage that need no truth; see :func:`cdgm.estimator.scores.leakage_table`."""
        draws = self.protocol["evaluation"]["null_draws"]
        return leakage_table(self, member, self.split.scored() if split is None else split, draws)

    def stability(self, split: str | None = None) -> pd.DataFrame:
        """Agreement of members on each block; see :func:`cdgm.estimator.scores.stability_table`."""
        draws = self.protocol["evaluation"]["null_draws"]
        return stability_table(self, self.split.scored() if split is None else split, draws)

    def rank_genes(
        self, block: str | None = None, label: str | None = None, cells: int = 5_000
    ) -> pd.DataFrame:
        """Features that a private block moves; see :func:`cdgm.estimator.gene_ranking.ranking_table`."""
        return ranking_table(self, block, label, cells)

    def differential_expression(
        self,
        groupby: str | None = None,
        group1: str | Sequence[str] | None = None,
        group2: str | None = None,
        block: str | None = None,
        delta: float = 0.25,
        n_samples: int = 100,
        cells: int = 2_000,
        seed: int = 0,
    ) -> pd.DataFrame:
        """Posterior of the log fold change of each gene: by a block, or between groups of cells.

        Without ``groupby``, cells that have a private block are decoded with it and with zeros in its place.
        With ``groupby``, mean decoded rates of groups are compared. Rates are shares of a cell's total, so
        all cells have the same library size. See ``docs/own_data.md`` for what is calibrated.

        Parameters
        ----------
        groupby
            Column of ``obs`` (of arrays: ``"source"`` or ``"label"``) with the groups.
        group1
            Group or groups to compare; by default each. With ``block``: the cells to use.
        group2
            Group to compare with; by default the cells of all other groups.
        block
            Private block whose effect is asked for; without ``groupby`` by default the salient one.
        delta
            Size of an effect up to which it counts as none: log2 fold change, by default .25 (19 %), as in
            scvi-tools. For values that are not counts, in standard deviations of the feature (in its own
            units without ``standardise``; for 0 and 1 in log odds).
        n_samples
            Posterior samples in all, shared among the members.
        cells
            Cells of each group used at most, spread evenly.
        seed
            Of the samples.

        Returns
        -------
        DataFrame
            A row a gene and comparison, surest effects first. ``lfc_mean``, ``lfc_median``, ``lfc_std``,
            ``lfc_low``, ``lfc_high``: posterior of the log2 fold change of the mean over cells, with its 95 %
            interval (``difference_*``, in the feature's own units, for values that are not counts).
            ``size``: mean size of the effect, for a block the root mean square over cells, else the absolute
            fold change. ``proba_de``: probability of a size above ``delta``. ``fdr``: expected share of false
            discoveries among the genes down to this one
            (:func:`cdgm.evaluation.effect_posterior.expected_fdr`). ``p_value``: between groups, of a
            permutation of the labels within each source
            (:func:`cdgm.evaluation.effect_posterior.label_p_values`); of a block, of its size beside those
            of most other genes (:func:`cdgm.evaluation.effect_posterior.bulk_p_values`); NaN where neither
            can be. ``q_value``: the same by Benjamini and Hochberg. ``delta``, ``pseudocount``: limit of no
            effect, and share added to each rate. ``scale1``, ``scale2``: mean decoded share of the first and
            second side. ``raw_mean1``, ``raw_mean2``, ``non_zeros_proportion1``, ``non_zeros_proportion2``:
            mean and share of non-zeros of the observed values; for a block, of its cells and of the sources
            without it.

        Raises
        ------
        UserError
            If an argument is wrong, or a group has no cell.
        """
        what = Comparison.checked(
            delta, n_samples, cells, seed, groupby=groupby, group1=group1, group2=group2, block=block
        )
        return differential_expression_table(self, what)

    def to_anndata(self, member: int = 0) -> AnnData:
        """Write latents and a summary to the AnnData object.

        A view is copied first; for arrays a new object without X is made. An object in backed mode is changed
        in memory: its own ``write`` saves the changes.

        Parameters
        ----------
        member
            Which fit.

        Returns
        -------
        AnnData
            ``obsm["X_cdgm_<block>"]`` (cells, dimensions) for each block, ``obs["cdgm_held_out"]``, and
            ``uns["cdgm"]`` with variant, dimensions, seed, features and held-out ELBO of each source.
        """
        from anndata import AnnData
        from pandas import DataFrame

        member, own = self.ensemble.check_member(member), self.observations
        adata = own.adata
        if adata is None:
            columns = {"source": own.source} | ({} if own.label is None else {"label": own.label})
            adata = AnnData(obs=DataFrame(columns, index=own.names))
        elif adata.is_view:
            adata = adata.copy()
        for block in self.model_spec.design.blocks:
            adata.obsm[f"X_cdgm_{block}"] = self.get_latent_representation(block, member=member)
        adata.obs["cdgm_held_out"] = own.marked(self.split.rows(HELD_OUT))
        elbo = self.get_elbo().query("member == @member")
        adata.uns["cdgm"] = {
            "member": member,
            "seed": self.seeds[member],
            "dims": dict(self.model_spec.dims),
            "steps": int(self.ensemble.steps[member]),
            "features": own.features.astype(object),
            "held_out_elbo": dict(zip(elbo["source"], elbo["elbo"], strict=True)),
            "spec": self.ensemble.spec.model_dump_json(),
        }
        return adata
