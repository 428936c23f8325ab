"""Made-up tables of studies for the tests of figures: what pilots saw, with seeded noise."""

import numpy as np
import pandas as pd

NULL = 0.01
SEEDS = (200, 201, 202)
#: Blocks of the contrastive design, with the sources where each is active.
BLOCKS = {"background": ("background", "target"), "salient": ("target",)}


class FakeStudy:
    """Collects rows; ``failed`` holds (setting, variant, seed) of fits that diverged."""

    def __init__(self, name, failed=(), seeds=SEEDS):
        self.name, self.failed, self.seeds = name, set(failed), seeds
        self.rng = np.random.default_rng(7)
        self.scores, self.history, self.maps = [], [], []

    def fits(self, setting, variant, point=""):
        """A fit for each seed."""
        for seed in self.seeds:
            yield self.fit(setting, variant, seed, point)

    def fit(self, setting, variant, seed, point=""):
        finite = (setting, variant, seed) not in self.failed
        place = {"study": self.name, "setting": setting, "variant": variant, "point": point}
        return place | {"seed": seed, "finite": finite}

    def score(self, fit, metric, value, source="", block="", truth="", null=np.nan, twist=0.0):
        place = {"metric": metric, "source": source, "block": block, "truth": truth, "twist": twist}
        value = float(value) if fit["finite"] else np.nan
        self.scores.append(fit | place | {"value": value, "null_mean": null / 2, "null_high": null})

    def blocks(self, fit, blocks=BLOCKS, *, leak, recovery=0.95, elbo=None, dims=None, nonlinear=False):
        """Scores of every block on every source where it is active; ``dims`` are active ones.

        ``leak``, ``recovery`` and ``elbo`` are numbers, or numbers by block or by source.
        """

        def value(of, name):
            return (of[name] if isinstance(of, dict) else of) + self.rng.normal(0, 0.003)

        for source in dict.fromkeys(s for active in blocks.values() for s in active):
            here = [b for b, active in blocks.items() if source in active]
            mine = fit["seed"] if elbo is None else elbo
            self.score(fit, "elbo", mine[source] if isinstance(mine, dict) else mine, source)
            for block in here:
                self.score(fit, "recovery_cc", value(recovery, block), source, block, block, 5 * NULL)
                self.score(fit, "kl", value(5.0, block), source, block)
                self.score(fit, "active_dims", (dims or {}).get(block, 3), source, block)
                self.score(fit, "true_dims", 3, source, block)
                for other in here:
                    for metric in ("leakage_r2", "leakage_r2_nonlinear")[: 1 + nonlinear]:
                        if other != block:
                            self.score(fit, metric, value(leak, block), source, block, other, NULL)

    def curve(self, fit, quantity, values, source="", block=""):
        place = {"quantity": quantity, "source": source, "block": block}
        fit = {key: value for key, value in fit.items() if key != "finite"}
        self.history += [fit | place | {"step": 10 * i, "value": v} for i, v in enumerate(values)]

    def tables(self):
        named = {"scores": self.scores, "history": self.history, "maps": self.maps}
        return {name: pd.DataFrame(rows) for name, rows in named.items() if rows}


#: Leakage by variant.
LEAK = {"cvae": 0.1, "hsic-weights": 0.03, "mm-cvae": 0.08}


def penalised(failed=(), seeds=SEEDS):
    """Two settings, a swept penalty whose largest weight empties a block in two fits, and a fixed one."""
    study = FakeStudy("penalised", failed, seeds)
    points = {"hsic-weights": ["hsic.weight=1000", "hsic.weight=100"]}
    for setting in ("d10x3", "d5x10"):
        for variant, leak in LEAK.items():
            for point in points.get(variant, [""]):
                for fit in study.fits(setting, variant, point):
                    emptied = point.endswith("=1000") and fit["seed"] in (200, 202)
                    study.blocks(fit, leak=leak, dims={"salient": 2 if emptied else 3})
                    if variant != "cvae":
                        study.curve(fit, "penalty/x", [1.0])
    return study.tables()


#: Gains on background and target over equal weights, and the share of the background's weight.
GAINS = {
    ("sized", ""): (-3.0, -0.5, 0.1),
    ("plain", ""): (0.0, 0.0, 0.5),
    ("grid", "ratio.background=4"): (0.5, -0.8, 0.8),
    ("grid", "ratio.background=0.25"): (-0.6, 0.4, 0.2),
    ("mgda", ""): (0.7, 0.3, 0.66),
}


def weighed(failed=(), seeds=SEEDS):
    """Two settings, weights by size (equal in one of them), fixed ratios and weights that move."""
    study = FakeStudy("weighed", failed, seeds)
    for setting in ("equal", "small"):
        for (variant, point), (background, target, share) in GAINS.items():
            for fit in study.fits(setting, variant, point):
                seed = fit["seed"]
                study.blocks(fit, leak=0.01, elbo={"background": seed + background, "target": seed + target})
                share = 0.5 if setting == "equal" and variant == "sized" else share
                moves = 0.3 * np.sin(np.arange(40) + seed) if variant == "mgda" else np.zeros(40)
                study.curve(fit, "weight", 2 * share + moves, "background")
                study.curve(fit, "weight", 2 - 2 * share - moves, "target")
    return study.tables()


def regretted(failed=(), seeds=SEEDS):
    """The fits of :func:`weighed` with their regrets, gains over the front and nonlinear leakage."""
    study = FakeStudy("weighed", failed, seeds)
    for setting in ("equal", "small"):
        for (variant, point), (background, target, _) in sorted(
            GAINS.items(), key=lambda g: g[0][0] != "plain"
        ):
            for fit in study.fits(setting, variant, point):
                regret = {"background": 1 - background, "target": 1 - target}
                study.blocks(
                    fit, leak=0.01, elbo={s: fit["seed"] - r for s, r in regret.items()}, nonlinear=True
                )
                for source, value in regret.items():
                    study.score(fit, "regret", value, source)
                study.score(fit, "regret_worst", max(regret.values()))
                study.score(fit, "front_gain", 0.35 if variant == "mgda" else 0.0)
    return study.tables()


def rates(failed=(), seeds=SEEDS, bases=("equal",)):
    """ELBOs that peak at the second rate for the plain variant, and gain by 1, 2, 3 nats with mgda."""
    study = FakeStudy("rates", failed, seeds)
    for base in bases:
        for i, rate in enumerate(("0.001", "0.002", "0.008")):
            for variant, gain in (("plain", 0), ("mgda", i + 1)):
                for fit in study.fits(f"{base}@learning_rate={rate}", variant):
                    study.blocks(fit, leak=0.01, elbo=fit["seed"] + (-4, 0, -1)[i] + gain)
    return study.tables()


def many_sources(failed=(), seeds=SEEDS):
    """Designs of two and three sources; mgda gains .5 nats on all but the first, where it loses .2."""
    study = FakeStudy("many", failed, seeds)
    for setting, count in (("two", 2), ("three", 3)):
        sources = [f"s{i + 1}" for i in range(count)]
        blocks = {"shared": sources} | {f"own{i + 1}": [s] for i, s in enumerate(sources)}
        for variant in ("plain", "mgda"):
            for fit in study.fits(setting, variant):
                gains = {s: (0.5 - 0.7 * (s == "s1")) * (variant == "mgda") for s in sources}
                start = len(study.scores)
                study.blocks(fit, blocks, leak=0.01, elbo={s: fit["seed"] + g for s, g in gains.items()})
                for row in study.scores[start:]:
                    if row["metric"] == "leakage_r2" and row["source"] == "s2" and fit["finite"]:
                        row["value"] = 0.3 if row["block"] == "shared" else 0.2
                        row["null_high"] = 2 * NULL
    return study.tables()


#: The blocks of what follows: ``z`` is shared, ``t`` is private to the source ``q``.
ZT = {"z": ("p", "q"), "t": ("q",)}


def constrained(failed=(), seeds=SEEDS, settings=("d10x3", "d5x10")):
    """A plain variant, a grid of weights, and a variant with an upper and a lower bound."""
    study = FakeStudy("constrained", failed, seeds)
    variants = [("plain", ""), ("grid", "hsic.weight=10"), ("grid", "hsic.weight=1000"), ("held", "")]
    for setting in settings:
        for variant, point in variants:
            for fit in study.fits(setting, variant, point):
                study.blocks(fit, ZT, leak={"z": 0.1, "t": 0.02}, elbo=fit["seed"] - 200)
                if variant == "grid":
                    study.curve(fit, "penalty/hsic", [0.1, 0.2])
                if variant == "held":
                    _bounds(study, fit)
    return study.tables()


def procedures(failed=(), seeds=SEEDS):
    """A plain variant, the best of 1, 2 and 4 starts, which loses fewer dimensions, and one that refits."""
    study = FakeStudy("procedures", failed, seeds)
    variants = {("plain", ""): (3, 0), ("restarts", "starts=1"): (2, 1), ("restarts", "starts=2"): (1, 2)}
    variants |= {("restarts", "starts=4"): (0, 4), ("prune", ""): (0, 2.5)}
    variants |= {("held", "hsic.level=1"): (0, 0), ("held", "hsic.level=3"): (3, 0)}
    for setting in ("d10x3", "d5x10"):
        for (variant, point), (lost, taken) in variants.items():
            for i, fit in enumerate(study.fits(setting, variant, point)):
                study.blocks(
                    fit, leak=0.1, recovery={"background": 0.95, "salient": 0.65 if i < lost else 0.95}
                )
                if taken:
                    study.score(fit, "fits_taken", taken)
    return study.tables()


def _bounds(study, fit):
    for name, level in (("hsic", 2e-4), ("kl_floor", 1.0)):
        for ending, factor in (("_train", 0.5), ("", 3.0)):
            study.score(fit, f"constraint_value{ending}", factor * level, block=name)
            study.score(fit, f"constraint_level{ending}", level, block=name)
        for quantity, values in (
            ("constraint", np.linspace(8 * level, level, 20)),
            ("level", np.full(20, level)),
            ("multiplier", np.linspace(0, fit["seed"], 20)),
        ):
            if not fit["finite"]:
                values[6:] = np.nan
            study.curve(fit, f"{quantity}/{name}", values)


def scheduled(failed=(), seeds=SEEDS):
    """Two sizes and two schedules; the plain fit of the first seed loses a dimension, where one is spare."""
    study = FakeStudy("scheduled", failed, seeds)
    for setting in ("d5x3", "d10x3"):
        for variant in ("plain", "warm"):
            for fit in study.fits(setting, variant):
                lost = (setting, variant, fit["seed"]) == ("d10x3", "plain", seeds[0])
                recovery = {"z": 0.95, "t": 0.66 if lost else 0.97}
                leak = {"z": 0.35 if lost else 0.05, "t": 0.0}
                study.blocks(fit, ZT, leak=leak, recovery=recovery, nonlinear=True)
                study.score(fit, "axis_asymmetry", 11.0 if lost else 1.2, "q&p", "z", null=1.1)
    return study.tables()


def traced(failed=(), seeds=SEEDS):
    """The fits of :func:`scheduled`, step by step: what the shared block takes at first it gives back."""
    tables = scheduled(failed, seeds)
    scores = tables["scores"]
    scores["fit"] = scores["setting"] + "-" + scores["variant"]
    places = scores[["fit", "setting", "variant", "seed", "finite"]].drop_duplicates()
    rows, weights = [], []
    for place in places.itertuples():
        for step in (10, 20, 40):
            for block, value in (("z", 1 / step), ("t", 1 - 1 / step)):
                metric = "recovery_r2" if block == "t" else "leakage_r2"
                score = {"source": "q", "block": block, "truth": "t", "metric": metric, "twist": 0.0}
                fit = {"fit": place.fit, "seed": place.seed, "finite": place.finite, "point": ""}
                rows.append(fit | score | {"step": step, "value": value + 0.001 * (place.seed - seeds[0])})
            fit = {"study": "scheduled", "setting": place.setting, "variant": place.variant, "point": ""}
            curve = {"quantity": "kl_weight", "source": "q", "block": "t", "seed": place.seed}
            weights += [fit | curve | {"step": step, "value": step / 40}] * (place.variant == "warm")
    return tables | {"history": pd.DataFrame(weights), "traces": pd.DataFrame(rows)}


def counts(failed=(), seeds=SEEDS, ceiling=True):
    """Two noises over numbers of features, with the scores of the true model's posterior."""
    study = FakeStudy("counts", failed, seeds)
    for base, level in (("poisson", 0.9), ("bernoulli", 0.5)):
        for features in (10, 100):
            setting = f"{base}@n_features={features}"
            for variant in ("cvae", "ceiling")[: 1 + ceiling]:
                top = 0.05 * (variant == "ceiling")
                recovery = {"z": level - 1 / features + top, "t": level + top}
                for fit in study.fits(setting, variant):
                    study.blocks(fit, ZT, leak=0.0 if top else 0.1, recovery=recovery)
    return study.tables()


def assumptions(failed=(), seeds=SEEDS, learned="noise_sd"):
    study = FakeStudy("assumptions", failed, seeds)
    for setting in ("matched", "correlated"):
        for fit in study.fits(setting, "cvae"):
            study.blocks(fit, ZT, leak=0.1, nonlinear=True)
            if learned:
                study.score(fit, learned, 0.1 + 0.001 * (fit["seed"] - 200))
    return study.tables()


def limits(failed=(), seeds=SEEDS):
    """Settings that differ in where training starts, one of them also in what is swept, and a ceiling."""
    study = FakeStudy("limits", failed, seeds)
    recovery = {"": 0.955, "+truth": 0.966, "+held": 0.993}
    for base in ("mean_field", "full_covariance"):
        for start, value in recovery.items():
            for fit in study.fits(f"{base}{start}@steps=3000", "cvae"):
                elbo = {"": 2.6, "+truth": 3.1, "+held": 3.0}[start] + 0.1 * (fit["seed"] - 200)
                study.blocks(fit, leak=(0.994 - value) * 2, recovery=value, elbo=elbo, nonlinear=True)
    for fit in study.fits("mean_field@steps=3000", "ceiling"):
        study.blocks(fit, leak=0.0, recovery=0.993, nonlinear=True)
    return study.tables()


CELL_VARIANTS = ("plain", "penalised", "held", "other")


def cell_variants(failed=(), seeds=SEEDS, variants=CELL_VARIANTS, baselines=True):
    """Variants on cells whose labels move from one block to the other, and baselines."""
    study = FakeStudy("cells", failed, seeds)
    for i, variant in enumerate(variants):
        for fit in study.fits("s", variant):
            for block, value in (("z", 0.3 + 0.05 * i), ("t", 0.8 - 0.02 * i)):
                study.score(
                    fit, "knn_accuracy", value + 0.01 * (fit["seed"] - 200), "q", block, "label", 0.25
                )
                study.score(fit, "source_separation", 0.5 + value / 3, "p&q", block, null=0.51)
                study.score(fit, "source_separation_linear", 0.5 + value / 5, "p&q", block, null=0.51)
                for source, mixed in (("p", 1.3), ("q", 1.02)):
                    study.score(fit, "source_mixing", mixed, source, block, null=1.01)
            for source in "pq":
                study.score(fit, "elbo", -300.0 - i - 2 * (fit["seed"] - 200), source)
                study.score(fit, "kl", 20.0, source, "z")
            study.score(fit, "kl", 8.0 - i, "q", "t")
            if variant != "plain":
                study.curve(fit, "penalty/hsic", [0.1])
        _maps(study, study.fit("s", variant, seeds[0]))
    for variant, value in {"pca": 0.6, "oracle": 0.95}.items() if baselines else ():
        fit = study.fit("s", variant, -1)
        study.score(fit, "knn_accuracy", value, "q", "t", "label", 0.25)
        if variant == "pca":
            study.score(fit, "source_mixing", 1.2, "q", "t", null=1.01)
    return study.tables()


def dosed(failed=(), seeds=SEEDS):
    """Variants on cells with known doses, which leave one block for the other."""
    study = FakeStudy("dosed", failed, seeds)
    for setting in ("clean", "escapers"):
        for i, variant in enumerate(CELL_VARIANTS):
            for fit in study.fits(setting, variant):
                aside = 0.01 * (fit["seed"] - 200)
                for ending in ("", "_nonlinear"):
                    study.score(fit, f"leakage_r2{ending}", 0.3 - 0.05 * i + aside, "q", "z", "dose", 0.02)
                    study.score(fit, f"recovery_r2{ending}", 0.5 + aside, "q", "t", "dose", 0.02)
                for source in "pq":
                    study.score(fit, "elbo", -300.0 - i - aside, source)
                    study.score(fit, "kl", 20.0, source, "z")
                study.score(fit, "kl", 8.0, "q", "t")
                if variant != "plain":
                    study.curve(fit, "penalty/hsic", [0.1])
    return study.tables()


def _maps(study, fit):
    for block in "zt":
        for j in range(40):
            label = ("", "A", "B")[j % 3] if j % 2 else ""
            place = {"block": block, "cell": f"c{j}", "source": "pq"[j % 2], "label": label, "split": "test"}
            at = dict(zip("xy", study.rng.normal(0, 1, 2), strict=True))
            study.maps.append({k: v for k, v in fit.items() if k != "finite"} | place | at)


TRUE = {"background": 5, "salient": 3}


def dimensions(failed=(), seeds=SEEDS, grid=((3, 5, 10), (1, 3))):
    """A grid of fitted dimensions: too few lose a block's truth or push it into the other block."""
    study = FakeStudy("dimensions", failed, seeds)
    for shared in grid[0]:
        for private in grid[1]:
            for fit in study.fits(f"dims@background={shared},salient={private}", "cvae"):
                extra = max(shared - 5, 0) / 5
                noise = np.exp(study.rng.normal(0, 0.7))
                leak = {
                    "background": min(extra * 0.13 * noise, 0.7),
                    "salient": (0.3 * (5 - shared) / 2 if shared < 5 else 0.01) * noise**0.3,
                }
                recovery = {"background": 0.95 * min(shared, 5) / 5, "salient": 0.975 * min(private, 3) / 3}
                elbo = -9 * max(5 - shared, 0) - 7 * max(3 - private, 0) - extra - private * 0.2
                dims = {"background": min(shared, 5), "salient": min(private, 3)}
                start = len(study.scores)
                study.blocks(fit, leak=leak, recovery=recovery, elbo=elbo, dims=dims)
                for row in study.scores[start:]:
                    if row["metric"] == "true_dims" and fit["finite"]:
                        row["value"] = TRUE[row["block"]]
    return study.tables()


def three_sources(failed=(), seeds=SEEDS):
    """A design that isn't contrastive: a block shared by three sources, and one for each of them."""
    study = FakeStudy("three", failed, seeds)
    blocks = {"common": "pqr"} | {f"own_{s}": s for s in "pqr"}
    for fit in study.fits("three", "cvae"):
        start = len(study.scores)
        study.blocks(fit, blocks, leak=0.05)
        for row in study.scores[start:]:
            row["metric"] = row["metric"].replace("leakage_r2", "leakage_cc")
        for source in "pqr":
            for block in (f"own_{source}", "common"):
                study.curve(fit, "kl", [3.0, 3.0], source, block)
    return study.tables()


SHARED, PRIVATE = BLOCKS
#: Factor of the recovery of the shared block by the angle of the twist.
TURNED = {0.0: 1.0, 0.5: 0.956, 1.0: 0.838, 2.0: 0.529, 4.0: 0.236}
#: Recovery of the shared and of the private block by setting.
SETTINGS = {
    "linear": (0.985, 0.99),
    "leaky_relu_2": (0.951, 0.975),
    "leaky_relu_3": (0.86, 0.92),
    "near_linear": (0.955, 0.965),
    "leaky_relu_2_silu": (0.93, 0.96),
    "leaky_relu_2_twisted_decoder": (0.951, 0.975),
    "leaky_relu_2_twisted_decoder_mean_field": (0.80, 0.96),
}


def simulation(seeds=3, failed=()):
    """The study of identifiability with seeds from 100 on; ``failed`` holds (setting, seed) of lost fits."""
    study = FakeStudy("identifiability", [(s, "cvae", seed) for s, seed in failed], range(100, 100 + seeds))

    def noisy(value, sd=0.004):
        return value + study.rng.normal(0, sd)

    for setting, (shared, private) in SETTINGS.items():
        twisted, leak = "twisted_decoder" in setting, 0.1 if setting == "leaky_relu_3" else 0.02
        for fit in study.fits(setting, "cvae"):
            study.score(fit, "recovery_cc", noisy(shared), "background", SHARED, SHARED, 0.05)
            for c in [0.0, 2.0] if twisted else list(TURNED) if setting == "leaky_relu_2" else [0.0]:
                factor = TURNED[2.0 - c] if twisted else TURNED[c]
                for block, other, value, mixed in (
                    (SHARED, PRIVATE, shared * factor, 0.9 * (1 - factor**1.3)),
                    (PRIVATE, SHARED, private, 0.0),
                ):
                    study.score(fit, "recovery_cc", noisy(value), "target", block, block, 0.05, c)
                    for metric, null in (
                        ("leakage_cc", 0.07), ("leakage_cc_max", 0.1), ("leakage_r2_nonlinear", 0.006),
                    ):  # fmt: skip
                        study.score(fit, metric, noisy(leak), "target", block, other, null, c)
                    joint = f"{SHARED}&{PRIVATE}"
                    study.score(fit, "entanglement_r2", noisy(mixed), "target", joint, block, 0.002, c)
            for source, elbo in (
                ("background", 11.5),
                ("target", 3.7 - 2.6 * setting.endswith("mean_field")),
            ):
                level = fit["seed"] % 10 + noisy(elbo, 0.1)
                study.score(fit, "elbo", level, source)
                _curve(study, fit, "elbo", level, source)
                _curve(study, fit, "weight", 1.0, source)
                for block, dims in ((SHARED, 5.0), (PRIVATE, 3.0))[: 1 + (source == "target")]:
                    study.score(fit, "active_dims", dims, source, block)
                    _curve(study, fit, "kl", 2.7 * dims, source, block)
            _curve(study, fit, "gradient_norm", 30.0)
            _curve(study, fit, "learning_rate", 4e-3)
    return study.tables()


def _curve(study, fit, quantity, level, source="", block=""):
    """A curve that settles; that of a lost fit ends after seven records."""
    values = level * (1 - 0.9 * np.exp(-np.arange(30) / 3)) + study.rng.normal(0, 0.01 * abs(level), 30)
    values[7 if not fit["finite"] else 30 :] = np.nan
    study.curve(fit, quantity, values, source, block)
