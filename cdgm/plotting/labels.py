"""Human names of metrics, settings, variants and numbers."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence

import pandas as pd

from cdgm.evaluation.catalogue import METRICS
from cdgm.evaluation.table_slices import Arm, seeds_of
from cdgm.plotting.sweeps import SweptVariant, swept

#: Units of metrics, for axes of panels whose titles name the metric.
UNITS = {
    "recovery_cc": "mean canonical correlation",
    "leakage_r2": "linear R²",
    "leakage_r2_nonlinear": "nonlinear R²",
    "elbo": "nats per point",
    "elbo_difference": "nats per point, same seed",
    "kl": "nats per point",
    "active_dims": "dimensions",
}
#: What a block is compared with, for titles of panels.
OWN_TRUTH = "a block's own truth"
OTHER_TRUTH = "another block's truth"

# Names of settings are read off their parts, so that a new one needs no entry here.
_SETTING_PARTS = (
    (r"leaky_relu_(\d+)", r"leaky ReLU, \1 layers"),
    (r"near_linear", "near-linear (smooth)"),
    (r"twisted_decoder", "twisted decoder"),
    (r"mean_field", "mean-field"),
    (r"silu", "SiLU decoder"),
    (r"spikein", "spike-in"),
    (r"poisson_rate(\d+)", r"Poisson, rate \1"),
    (r"nb_?(?:dispersion)?(\d+)", r"negative binomial, dispersion \1"),
    (r"keep_?0\.?(\d+)", r"keep 0.\1"),
)

VARIANT_LABELS = {
    "pca": "PCA",
    "pca_background": "PCA of background",
    "contrastive_pca": "contrastive PCA",
    "oracle": "supervised ceiling",
    "library_size": "library size (and batch) alone",
    "ceiling": "true model",
    # Where a weight comes from.
    "mm-cvae": "mm-cvae (published weights)",
    "mm-cvae-x10": "mm-cvae (10 x published)",
    "mm-cvae-tenth": "mm-cvae (0.1 x published)",
    "mm-cvae-hundredth": "mm-cvae (0.01 x published)",
    "mm-cvae-means": "mm-cvae on means (published weights)",
    "tc-cvae": "tc-cvae (published weight)",
    "wasserstein-cvae": "wasserstein-cvae (best of grid, seeds 900 to 907)",
    "co-weights": "co-weights (multipliers of co-effect-size)",
    "co-ramp": "co-ramp (to multipliers of co-effect-size)",
}


def metric_title(metric: str) -> str:
    """Human name of a metric, for axes."""
    return METRICS[metric].title if metric in METRICS else metric.replace("_", " ")


def setting_label(setting: str, width: int | None = None) -> str:
    """Human name of a setting: ``leaky_relu_2_silu`` is "leaky ReLU, 2 layers, SiLU decoder"."""
    parts = [setting]
    for pattern, text in _SETTING_PARTS:
        split: list[str] = []
        for part in parts:
            match = re.search(rf"(?:^|_){pattern}(?=_|$)", part)
            if match is None or part.startswith("\0"):
                split.append(part)
                continue
            named = "\0" + re.sub(pattern, text, match.group().strip("_"))
            split += [p for p in (part[: match.start()], named, part[match.end() :].strip("_")) if p]
        parts = split
    label = ", ".join(p.removeprefix("\0") if p.startswith("\0") else p.replace("_", " ") for p in parts)
    return wrapped(label, width)


def variant_label(variant: str) -> str:
    """Human name of a variant or baseline."""
    return VARIANT_LABELS.get(variant, variant.replace("_", " "))


def arm_label(arm: Arm, arms: Sequence[Arm], width: int | None = None) -> str:
    """Name of an arm: its setting, and its variant where the study has several."""
    label = setting_label(arm[0])
    if len({variant for _, variant in arms}) > 1:
        label += f", {variant_label(arm[1])}"
    return wrapped(label, width)


def swept_label(variant: SweptVariant, width: int | None = None) -> str:
    """Name of a variant at a point of its sweep: "fixed-grid, ratio.background = 0.25"."""
    values = [f"{key.replace('_', ' ')} = {number(value)}" for key, value in swept(variant[1])[1].items()]
    return wrapped(", ".join([variant_label(variant[0]), *values]), width)


def short_label(variant: SweptVariant) -> str:
    """Name of a variant with its one swept number: "fixed-grid ×4"."""
    values = list(swept(variant[1])[1].values())
    return f"{variant_label(variant[0])} ×{number(values[0])}" if len(values) == 1 else swept_label(variant)


def missing_fits(rows: pd.DataFrame) -> str:
    """Text like "1 of 10 diverged" or "not fitted", empty if all fits that ``rows`` score finished."""
    if rows.empty:
        return "not fitted"
    good, every = seeds_of(rows)
    return f"{len(every) - len(good)} of {len(every)} diverged" if good != every else ""


def with_missing(label: str, rows: pd.DataFrame, separator: str = "\n") -> str:
    """A label with what :func:`missing_fits` finds in brackets after it, if anything."""
    note = missing_fits(rows)
    return f"{label}{separator}({note})" if note else label


def number(value: float) -> str:
    """A number as an axis shows it, with a true minus sign: 0.25, 10,000."""
    text = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:g}"
    return text.replace("-", "\N{MINUS SIGN}")


def wrapped(text: str, width: int | None) -> str:
    """Text in lines of about ``width`` characters, broken after commas first and never inside a word."""
    if width is None:
        return text
    lines: list[str] = []
    for part in re.split(r"(?<=,) ", text):
        if lines and len(lines[-1]) + 1 + len(part) <= width:
            lines[-1] += f" {part}"
        else:
            lines += textwrap.wrap(part, width, break_long_words=False, break_on_hyphens=False)
    return "\n".join(lines)
