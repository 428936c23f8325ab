"""Methods that are no fits of ours, but stand in the tables beside them. Light: names only."""

from __future__ import annotations

#: Variants of their rows; see :mod:`cdgm.evaluation.metrics.baselines`.
BASELINES = ("pca", "pca_background", "contrastive_pca", "oracle", "ceiling")
