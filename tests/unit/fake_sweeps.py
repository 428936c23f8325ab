"""Tables like those of the studies that sweep something: settings, weights, combiners, constraints."""

from __future__ import annotations

import numpy as np
import pandas as pd

SHARED, PRIVATE = "background", "salient"
TRUE = {SHARED: 5, PRIVATE: 3}


class Maker:
    """Collects rows of scores and history; ``failed`` names (setting, variant, seed) that diverged."""

    def __init__(self, study, seeds, failed=(), first=200):
        self.study, self.seeds, self.failed, self.first = study, seeds, set(failed), first
        self.rng = np.random.default_rng(3)
        self.scores, self.history = [], []

    def fits(self, setting, variant, points=("",)):
        for point in points:
            for i in range(self.seeds):
                seed = self.first + i
                fixed = {"study": self.study, "setting": setting, "variant": variant, "dataset": "d-0",
                         "fit": f"{setting}-{variant}", "point": point, "seed": seed, "member": i}  # fmt: skip
                yield point, fixed, (setting, variant, seed) not in self.failed

    def noise(self, sd):
        return self.rng.normal(0.0, sd)

    def score(self, fixed, finite, source, block, truth, metric, value, null=(np.nan, np.nan)):
        self.scores.append(
            fixed
            | {"finite": finite, "source": source, "block": block, "truth": truth, "twist": 0.0, "metric": metric}
            | {"value": value if finite else np.nan, "null_mean": null[0], "null_high": null[1]}
        )

    def member(self, fixed, finite, recovery, into_shared, into_private, elbo, kl=8.0, dims=TRUE):
        """Everything that is scored of a simulated fit."""
        null = (-0.002, 0.003)
        for source in ("background", "target"):
            value = recovery[0] + self.noise(0.004)
            self.score(fixed, finite, source, SHARED, SHARED, "recovery_cc", value, (0.02, 0.05))
        value = recovery[1] + self.noise(0.004)
        self.score(fixed, finite, "target", PRIVATE, PRIVATE, "recovery_cc", value, (0.02, 0.06))
        self.score(fixed, finite, "target", SHARED, PRIVATE, "leakage_r2", into_shared, null)
        self.score(fixed, finite, "target", PRIVATE, SHARED, "leakage_r2", into_private, null)
        for source, value in zip(("background", "target"), elbo, strict=True):
            self.score(fixed, finite, source, "", "", "elbo", value)
            self.score(fixed, finite, source, SHARED, "", "kl", 13.0 + self.noise(0.1))
            self.score(fixed, finite, source, SHARED, "", "active_dims", min(dims[SHARED], 5 + (into_shared > 0.1)))
            self.score(fixed, finite, source, SHARED, "", "true_dims", TRUE[SHARED])
        self.score(fixed, finite, "target", PRIVATE, "", "kl", kl)
        active = 0 if kl < 1 else min(dims[PRIVATE], 3 + (into_private > 0.05))
        self.score(fixed, finite, "target", PRIVATE, "", "active_dims", active)
        self.score(fixed, finite, "target", PRIVATE, "", "true_dims", TRUE[PRIVATE])

    def curve(self, fixed, quantity, steps, values, source="", block=""):
        keep = {k: v for k, v in fixed.items() if k != "member"}
        self.history += [
            keep | {"step": s, "quantity": quantity, "source": source, "block": block, "value": v}
            for s, v in zip(steps, np.broadcast_to(values, len(steps)), strict=True)
        ]

    def tables(self):
        tables = {"scores": pd.DataFrame(self.scores)}
        if self.history:
            tables["history"] = pd.DataFrame(self.history)
        return tables


def misspecification(seeds=10, failed=(), grid=((3, 4, 5, 6, 8, 10), (1, 2, 3, 4, 6, 10))):
    make = Maker("misspecification", seeds, failed)
    for shared in grid[0]:
        for private in grid[1]:
            setting = f"dims@background={shared},salient={private}"
            for _, fixed, finite in make.fits(setting, "cvae"):
                extra = max(shared - 5, 0) / 5
                into_shared = abs(extra * 0.13 * np.exp(make.noise(0.7))) + abs(make.noise(0.002))
                into_private = (0.3 * (5 - shared) / 2 if shared < 5 else 0) + 0.01 * max(private - 3, 0)
                into_private = into_private * np.exp(make.noise(0.2)) + abs(make.noise(0.002))
                recovery = (0.95 * min(shared, 5) / 5, 0.975 * min(private, 3) / 3 - 0.3 * min(into_shared, 1))
                short = 9 * max(5 - shared, 0) + 7 * max(3 - private, 0)
                elbo = 11.5 - short - extra - private * 0.2, 3.7 - short - extra - private * 0.2
                elbo = tuple(e + make.noise(0.4) for e in elbo)
                dims = {SHARED: shared, PRIVATE: private}
                make.member(fixed, finite, recovery, min(into_shared, 0.7), into_private, elbo, dims=dims)
    return make.tables()


DIMS = {"d10x3": (0.13, 0.0), "d5x10": (0.0, 0.074), "d10x10": (0.15, 0.06)}
WEIGHTS = {
    "hsic-weights": ("hsic", (100, 1000, 10000)),
    "mmd-weights": ("mmd_shared", (100, 1000, 10000)),
    "mmd-samples-weights": ("mmd_shared", (100, 1000, 10000)),
    "hsic-mmd-weights": ("hsic", (100, 1000, 10000)),
    "tc-weights": ("tc", (0.1, 1, 10)),
    "wasserstein-weights": ("wasserstein_inactive", (1, 10, 100)),
}  # fmt: skip
STEPS = np.arange(30, 3001, 30)


def _effects(variant, kind, weight):
    """Factors on both leakages and on the private block's KL."""
    strength = np.log10(weight) / 4 if kind in ("hsic", "mmd_shared") else 0.2
    if variant == "hsic-weights":
        return 1 + 2.5 * strength**3, 0.04 ** strength, 0.02 if weight >= 10000 else 1.0
    if variant == "mmd-weights":
        return 0.3**strength, 1.4, 1.0
    if variant == "hsic-mmd-weights":
        return 0.1**strength, 0.05**strength, 0.5 if weight >= 10000 else 1.0
    return 1.0 - 0.3 * strength, 1.0 - 0.3 * strength, 1.0


def _penalised(make, setting, variant, points, effect):
    for point, fixed, finite in make.fits(setting, variant, points):
        base = DIMS[setting]
        factors = effect(point)
        into_shared = base[0] * factors[0] * np.exp(make.noise(0.5)) + make.noise(0.003)
        into_private = base[1] * factors[1] * np.exp(make.noise(0.3)) + make.noise(0.003)
        kl = 8.0 * factors[2] + abs(make.noise(0.1))
        private = 0.97 - 0.4 * min(into_shared, 0.9) if kl > 1 else 0.15 + abs(make.noise(0.05))
        elbo = 9 + make.noise(0.3), 1.4 + make.noise(0.3)
        dims = {SHARED: 10, PRIVATE: 10}
        make.member(fixed, finite, (0.955, private), min(into_shared, 0.92), into_private, elbo, kl, dims)
        kind = point.partition(".")[0]
        if kind:
            make.curve(fixed, f"penalty/{kind}", STEPS[::25], 0.01)
        if variant == "mm-cvae":
            make.curve(fixed, "penalty/mmd_shared", STEPS[::25], 0.01)
        for source, block in (("background", SHARED), ("target", SHARED), ("target", PRIVATE)):
            make.curve(fixed, "kl", STEPS[::25], 8.0, source, block)


def regularisation(seeds=10, failed=()):
    make = Maker("regularisation", seeds, failed)
    for setting in DIMS:
        _penalised(make, setting, "cvae", [""], lambda _: (1.0, 1.0, 1.0))
        for variant, (kind, weights) in WEIGHTS.items():
            points = [f"{kind}.weight={w:g}" for w in weights]
            _penalised(
                make, setting, variant, points,
                lambda p, v=variant, k=kind: _effects(v, k, float(p.partition("=")[2])),
            )  # fmt: skip
        _penalised(make, setting, "mm-cvae", [""], lambda _: (0.8, 1.2, 1.0))
    return make.tables()


CONSTRAINTS = {"hsic": (3e-4, 2e-4, 60.0), "mmd_shared": (2e-3, 1.2e-3, 40.0), "kl_floor": (7.0, 1.0, 0.0)}
CONSTRAINED = {"co-cvae": tuple(CONSTRAINTS), "co-hsic-only": ("hsic",), "mo-co-cvae": tuple(CONSTRAINTS)}


def constrained(seeds=10, failed=()):
    make = Maker("constrained", seeds, failed)
    for setting in DIMS:
        _penalised(make, setting, "cvae", [""], lambda _: (1.0, 1.0, 1.0))
        points = [f"hsic.weight={w}" for w in (100, 1000, 10000)]
        _penalised(
            make, setting, "hsic-mmd-weights", points,
            lambda p: _effects("hsic-mmd-weights", "hsic", float(p.partition("=")[2])),
        )  # fmt: skip
        for variant, names in CONSTRAINED.items():
            effect = (1.8, 0.1, 0.03) if variant == "co-hsic-only" else (0.2, 0.1, 1.0)
            _penalised(make, setting, variant, [""], lambda _, e=effect: e)
            for _, fixed, finite in make.fits(setting, variant):
                for name in names:
                    _constraint(make, fixed, finite, name)
    return make.tables()


def _constraint(make, fixed, finite, name):
    start, level, strength = CONSTRAINTS[name]
    floor = name == "kl_floor"
    for ending, shift in (("_train", 0.9), ("", 1.1)):
        value = start if floor else level * shift
        make.score(fixed, finite, "", name, "", f"constraint_value{ending}", value * np.exp(make.noise(0.15)))
        own = level * (1 if floor else np.exp(make.noise(0.08)))
        make.score(fixed, finite, "", name, "", f"constraint_level{ending}", own)
    rise = np.exp(-STEPS / 500)
    noise = make.rng.normal(0, (0.3 if floor else 12 * level), len(STEPS))
    values = (7 * (1 - rise) if floor else level + 6 * level * rise) + noise
    levels = np.full(len(STEPS), level) if floor else np.where(STEPS < 200, np.nan, level)
    multiplier = strength * (1 - np.exp(-np.clip(STEPS - 300, 0, None) / 700)) * np.exp(make.noise(0.1))
    for quantity, curve in (("constraint", values), ("level", levels), ("multiplier", multiplier)):
        make.curve(fixed, f"{quantity}/{name}", STEPS, curve if finite else np.where(STEPS > 900, np.nan, curve))


OBJECTIVES = {  # medians of both ELBOs by setting
    "equal": {"cvae-size-weighted": (6.3, -1.6), "cvae": (6.3, -1.6), "mo-cvae": (8.8, 0.1), "mo-cvae-l2": (6.7, -1.4), "pcgrad-cvae": (6.6, -1.4), "cagrad-cvae": (7.6, -0.8)},
    "small_background": {"cvae-size-weighted": (-0.04, -4.4), "cvae": (5.9, -1.6), "mo-cvae": (8.0, -0.3), "mo-cvae-l2": (6.2, -1.4), "pcgrad-cvae": (6.2, -1.4), "cagrad-cvae": (7.1, -0.9)},
    "small_target": {"cvae-size-weighted": (9.2, -3.7), "cvae": (6.7, -2.9), "mo-cvae": (8.9, -1.8), "mo-cvae-l2": (6.9, -2.8), "pcgrad-cvae": (6.9, -2.7), "cagrad-cvae": (8.0, -2.2)},
    "noisy_background": {"cvae-size-weighted": (-30.3, -1.6), "cvae": (-30.3, -1.6), "mo-cvae": (-29.8, 0.1), "mo-cvae-l2": (-30.1, -1.4), "pcgrad-cvae": (-30.2, -1.4), "cagrad-cvae": (-30.0, -0.8)},
}  # fmt: skip
SHARES = {"mo-cvae": 0.66, "mo-cvae-l2": 0.52, "pcgrad-cvae": 0.55, "cagrad-cvae": 0.6}
RATIOS = (0.25, 0.5, 2, 4)


def multi_objective(seeds=10, failed=()):
    make = Maker("multi_objective", seeds, failed)
    for setting, variants in OBJECTIVES.items():
        names = list(variants)
        for variant in [*names[:2], "fixed-grid", *names[2:]]:
            points = [f"ratio.background={r:g}" for r in RATIOS] if variant == "fixed-grid" else [""]
            for point, fixed, finite in make.fits(setting, variant, points):
                bad = variant == "cvae-size-weighted" and setting == "small_background"
                if point:
                    ratio = float(point.partition("=")[2])
                    middle = variants["cvae"][0] + np.log(ratio), variants["cvae"][1] - 0.7 * np.log(ratio)
                    share = ratio / (1 + ratio)
                else:
                    middle = variants[variant]
                    share = SHARES.get(variant, 0.5)
                    if variant == "cvae-size-weighted":
                        share = {"small_background": 1 / 16, "small_target": 15 / 16}.get(setting, 0.5)
                elbo = [m + make.noise(0.35) for m in middle]
                leak = abs(make.noise(0.003))
                if bad and fixed["seed"] % 5 == 1:
                    elbo[0], leak = -18.0 + make.noise(1), 0.35
                make.member(fixed, finite, (0.945 - leak, 0.965 - leak), leak, abs(make.noise(0.003)) + (leak > 0.1) * 0.15, elbo)
                weight = np.full(len(STEPS), 2 * share)
                if variant in SHARES:
                    weight = np.clip(weight + make.rng.normal(0, 0.15, len(STEPS)), 0, 2)
                if not finite:
                    weight[40:] = np.nan
                make.curve(fixed, "weight", STEPS, weight, "background")
                make.curve(fixed, "weight", STEPS, 2 - weight, "target")
                norm = 30 + 300 * np.exp(-STEPS / 300) + make.rng.normal(0, 3, len(STEPS))
                make.curve(fixed, "gradient_norm", STEPS, norm)
                for source, block in (("background", SHARED), ("target", SHARED), ("target", PRIVATE)):
                    make.curve(fixed, "kl", STEPS[::25], 8.0, source, block)
    return make.tables()


STUDIES = {f.__name__: f for f in (misspecification, regularisation, multi_objective, constrained)}
