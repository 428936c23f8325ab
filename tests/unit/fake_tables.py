"""Tables like those of real studies, made of seeded noise around what pilots saw: for tests of figures."""

from __future__ import annotations

import numpy as np
import pandas as pd

SHARED, PRIVATE = "background", "salient"
TURNED = {0.0: 1.0, 0.5: 0.956, 1.0: 0.838, 2.0: 0.529, 4.0: 0.236}
SETTINGS = {  # recovery of the shared and of the private block
    "linear": (0.985, 0.99),
    "leaky_relu_2": (0.951, 0.975),
    "leaky_relu_3": (0.86, 0.92),
    "near_linear": (0.955, 0.965),
    "leaky_relu_2_silu": (0.93, 0.96),
    "leaky_relu_2_twisted_decoder": (0.951, 0.975),
    "leaky_relu_2_twisted_decoder_mean_field": (0.80, 0.96),
}


def simulation(seeds: int = 10, failed: tuple[tuple[str, int], ...] = (), first: int = 100) -> dict:
    """Scores and history of a study of simulations; ``failed`` names fits that turned non-finite."""
    rng = np.random.default_rng(5)
    scores, history = [], []
    ground = rng.normal(0.0, 0.6, seeds)
    for setting, (shared, private) in SETTINGS.items():
        for i in range(seeds):
            finite = (setting, first + i) not in failed
            fixed = {
                "study": "identifiability",
                "setting": setting,
                "variant": "cvae",
                "fit": f"{setting}-0a1b2c3d",
                "dataset": "",
                "seed": first + i,
                "member": i,
                "finite": finite,
            }
            rows = list(_scores_of_member(rng, setting, shared, private, ground[i]))
            for row in rows:
                row["value"] = row["value"] if finite else np.nan
            scores += [fixed | row for row in rows]
            history += [
                {k: fixed[k] for k in HISTORY} | row for row in _curves(rng, setting, ground[i], finite)
            ]
    return {"scores": _table(scores), "history": _table(history)}


HISTORY = ("study", "setting", "variant", "dataset", "fit", "seed")


def _row(source, block, truth, metric, value, null=(np.nan, np.nan), twist=0.0):
    return {
        "source": source,
        "block": block,
        "truth": truth,
        "twist": twist,
        "metric": metric,
        "value": value,
        "null_mean": null[0],
        "null_high": null[1],
    }


def _scores_of_member(rng, setting, shared, private, ground):
    twisted = "twisted_decoder" in setting
    angles = [0.0, 2.0] if twisted else list(TURNED) if setting == "leaky_relu_2" else [0.0]

    def noise(sd):
        return rng.normal(0.0, sd)

    hard = 0.02 if setting == "leaky_relu_3" else 0.0
    yield _row("background", SHARED, SHARED, "recovery_cc", shared - 0.01 + noise(0.004), (0.02, 0.05))
    yield _row("background", SHARED, "", "active_dims", 5.0)
    for block, dims in ((SHARED, 5.0), (PRIVATE, 3.0)):
        yield _row("target", block, "", "active_dims", dims)
    for c in angles:
        factor = TURNED[2.0 - c] if twisted else TURNED[c]
        entangled = max(0.0, 0.9 * (1 - factor**1.3)) + noise(0.006)
        yield _row("target", SHARED, SHARED, "recovery_cc", shared * factor + noise(0.006), (0.02, 0.05), c)
        yield _row("target", PRIVATE, PRIVATE, "recovery_cc", private + noise(0.004), (0.02, 0.06), c)
        leak = abs(noise(0.02)) + hard * 3 + 0.02, abs(noise(0.03)) + hard * 6 + 0.03
        yield _row("target", SHARED, PRIVATE, "leakage_cc", leak[0], (0.03, 0.065), c)
        yield _row("target", PRIVATE, SHARED, "leakage_cc", leak[1], (0.03, 0.075), c)
        yield _row("target", SHARED, PRIVATE, "leakage_cc_max", 2 * leak[0], (0.06, 0.1), c)
        for block, truth in ((SHARED, PRIVATE), (PRIVATE, SHARED)):
            value = noise(0.004) + hard
            yield _row("target", block, truth, "leakage_r2_nonlinear", value, (-0.002, 0.006), c)
        joint = f"{SHARED}&{PRIVATE}"
        yield _row("target", joint, SHARED, "entanglement_r2", entangled, (-0.01, 0.002), c)
        yield _row("target", joint, PRIVATE, "entanglement_r2", noise(0.004), (-0.01, 0.002), c)
    gap = 2.6 if "mean_field" in setting else 0.0
    yield _row("background", "", "", "elbo", 11.5 + ground + noise(0.08) - gap * 0.1)
    yield _row("target", "", "", "elbo", 3.7 + ground + noise(0.12) - gap)


def _curves(rng, setting, ground, finite):
    steps = np.arange(100, 3001, 100)
    rise = np.exp(-steps / 260.0)
    shift = {"linear": 4.0, "leaky_relu_3": -3.0}.get(setting, 0.0) + ground
    curves = {
        ("elbo", "background", ""): 11.5 + shift - 90 * rise,
        ("elbo", "target", ""): 3.7 + shift - 110 * rise,
        ("kl", "background", SHARED): 13.6 * (1 - rise),
        ("kl", "target", SHARED): 13.1 * (1 - rise),
        ("kl", "target", PRIVATE): 8.3 * (1 - rise**0.6),
        ("weight", "background", ""): np.ones(len(steps)),
        ("weight", "target", ""): np.ones(len(steps)),
        ("gradient_norm", "", ""): 30 + 900 * rise,
        ("learning_rate", "", ""): 4e-3 * np.sin(np.pi * steps / 3001),
    }
    spread = {"elbo": 0.7, "kl": 0.12, "gradient_norm": 6.0}
    for (quantity, source, block), curve in curves.items():
        values = curve + rng.normal(0.0, spread.get(quantity, 0.0), len(steps))
        if not finite:
            values = np.where(steps > 700, np.nan, values)
        for step, value in zip(steps, values, strict=True):
            yield {"step": step, "quantity": quantity, "source": source, "block": block, "value": value}


def _table(rows):
    return pd.DataFrame(list(rows))
