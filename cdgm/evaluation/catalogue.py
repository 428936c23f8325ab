"""Every metric of the tables of scores with its title, and the baselines that are scored beside fits.

Metrics are computed in :mod:`cdgm.evaluation.metrics`, and defined in docs/results.md. A test holds this
catalogue to what they return. Imports nothing, so that the workflow knows all names before it computes.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Of = Literal[
    "source", "block", "size of block", "fit", "own truth", "other truth", "all blocks", "pair of blocks",
    "constraint", "multiplier", "reference", "front", "procedure", "pruned block", "true model", "labels",
    "batches", "source in block", "sources in block", "source over source in block", "moved dimensions",
]  # fmt: skip


class Metric(NamedTuple):
    """A metric.

    Attributes
    ----------
    of
        What has one score of this kind: a source, a block on the points of a source, a block against its own
        or another truth, ...
    title
        Human name for axes; a line break where it is long.
    """

    of: Of
    title: str


METRICS: dict[str, Metric] = {
    "recovery_cc": Metric("own truth", "recovery (mean canonical correlation)"),
    "recovery_r2": Metric("own truth", "recovery (linear R²)"),
    "recovery_r2_nonlinear": Metric("own truth", "recovery (nonlinear R²)"),
    "mcc": Metric("own truth", "mean correlation of matched axes"),
    "alignment_min": Metric("own truth", "smallest stretch from truth to block"),
    "alignment_max": Metric("own truth", "largest stretch from truth to block"),
    "leakage_cc": Metric("other truth", "leakage (mean canonical correlation)"),
    "leakage_cc_max": Metric("other truth", "leakage (largest canonical correlation)"),
    "leakage_cc_excess": Metric("other truth", "leakage over its null (canonical correlation)"),
    "leakage_r2": Metric("other truth", "leakage (linear R²)"),
    "leakage_r2_nonlinear": Metric("other truth", "leakage (nonlinear R²)"),
    "entanglement_r2": Metric("all blocks", "entanglement (nonlinear R² added\nby the other block)"),
    "hsic": Metric("pair of blocks", "dependence of blocks (HSIC)"),
    "hsic_p": Metric("pair of blocks", "p value of the dependence of blocks"),
    "hsic_biased": Metric("pair of blocks", "dependence of blocks (biased HSIC)"),
    "kl": Metric("block", "KL (nats)"),
    "active_dims": Metric("size of block", "active dimensions"),
    "true_dims": Metric("size of block", "true dimensions"),
    "elbo": Metric("source", "held-out ELBO (nats per point)"),
    "regret": Metric("reference", "regret (nats per point)"),
    "regret_worst": Metric("front", "worst source's regret\n(nats per point)"),
    "front_gain": Metric("front", "gain over the front of fixed weights\n(nats per point)"),
    "axis_asymmetry": Metric("source over source in block", "most asymmetric axis\n(variance over variance)"),
    "dimension_moved": Metric("moved dimensions", "a dimension moved (0 or 1)"),
    "alarm_where_moved": Metric("moved dimensions", "alarm where one moved (0 or 1)"),
    "alarm_elsewhere": Metric("moved dimensions", "alarm where none moved (0 or 1)"),
    "noise_sd": Metric("fit", "learned noise (sd)"),
    "dispersion_median": Metric("fit", "learned dispersion (median)"),
    "constraint_value": Metric("constraint", "value of the constraint, held out"),
    "constraint_value_train": Metric("constraint", "value of the constraint, in training"),
    "constraint_level": Metric("constraint", "level of the constraint, held out"),
    "constraint_level_train": Metric("constraint", "level of the constraint, in training"),
    "constraint_attained": Metric("constraint", "level attained, held out (0 or 1)"),
    "constraint_bound": Metric("multiplier", "constraint bound (0 or 1)"),
    "constraint_settled": Metric("multiplier", "multiplier settled (0 or 1)"),
    "fits_taken": Metric("procedure", "fits taken"),
    "kept_dims": Metric("pruned block", "dimensions kept"),
    "effective_draws": Metric("true model", "effective draws (median)"),
    "effective_draws_low": Metric("true model", "effective draws (5 % quantile)"),
    "knn_accuracy": Metric("labels", "balanced kNN\naccuracy"),
    "nmi": Metric("labels", "normalised mutual\ninformation"),
    "ari": Metric("labels", "adjusted Rand\nindex"),
    "silhouette": Metric("labels", "silhouette"),
    "source_mixing_strongest": Metric("labels", "source mixing,\nstrongest class"),
    "batch_accuracy": Metric("batches", "balanced kNN accuracy\nof batches"),
    "source_mixing": Metric("source in block", "source mixing"),
    "source_mixing_within": Metric("source in block", "source mixing,\nwithin cell type"),
    "source_separation": Metric("sources in block", "source separation"),
    "source_separation_linear": Metric("sources in block", "source separation\nby shifted means"),
}  # fmt: skip

#: Metrics of the supervised ceiling on cells, which predicts labels and has no latent space.
OF_PREDICTIONS = ("knn_accuracy", "nmi", "ari")

#: Names in the variant column for scores without a fitted model; :mod:`cdgm.evaluation.metrics.baselines`.
BASELINES = ("pca", "pca_background", "contrastive_pca", "oracle", "library_size", "ceiling")


def metrics_of(of: Of) -> tuple[str, ...]:
    """Names of the metrics of one kind, in the order of the catalogue."""
    return tuple(name for name, metric in METRICS.items() if metric.of == of)


#: Name of the truth of known doses, in bundles and in tables.
DOSE = "dose"


def dose_metrics(private: bool) -> tuple[str, str]:
    """Linear and nonlinear score of doses: what a private block should know, and a shared one should not."""
    return ("recovery_r2", "recovery_r2_nonlinear") if private else ("leakage_r2", "leakage_r2_nonlinear")
