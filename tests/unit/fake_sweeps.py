"""Tables like those of the study that sweeps fitted dimensions, made of seeded noise."""

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
        self.scores = []

    def fits(self, setting, variant, points=("",)):
        for point in points:
            for i in range(self.seeds):
                seed = self.first + i
                place = {"setting": setting, "variant": variant, "fit": f"{setting}-{variant}"}
                fixed = {
                    "study": self.study,
                    "dataset": "d-0",
                    "point": point,
                    "seed": seed,
                    "member": i,
                } | place
                yield point, fixed, (setting, variant, seed) not in self.failed

    def noise(self, sd):
        return self.rng.normal(0.0, sd)

    def score(self, fixed, finite, source, block, truth, metric, value, null=(np.nan, np.nan)):
        self.scores.append(
            fixed
            | {
                "finite": finite,
                "source": source,
                "block": block,
                "truth": truth,
                "twist": 0.0,
                "metric": metric,
            }
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
            self.score(
                fixed, finite, source, SHARED, "", "active_dims", min(dims[SHARED], 5 + (into_shared > 0.1))
            )
            self.score(fixed, finite, source, SHARED, "", "true_dims", TRUE[SHARED])
        self.score(fixed, finite, "target", PRIVATE, "", "kl", kl)
        active = 0 if kl < 1 else min(dims[PRIVATE], 3 + (into_private > 0.05))
        self.score(fixed, finite, "target", PRIVATE, "", "active_dims", active)
        self.score(fixed, finite, "target", PRIVATE, "", "true_dims", TRUE[PRIVATE])

    def tables(self):
        return {"scores": pd.DataFrame(self.scores)}


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
                recovery = (
                    0.95 * min(shared, 5) / 5,
                    0.975 * min(private, 3) / 3 - 0.3 * min(into_shared, 1),
                )
                short = 9 * max(5 - shared, 0) + 7 * max(3 - private, 0)
                elbo = 11.5 - short - extra - private * 0.2, 3.7 - short - extra - private * 0.2
                elbo = tuple(e + make.noise(0.4) for e in elbo)
                dims = {SHARED: shared, PRIVATE: private}
                make.member(fixed, finite, recovery, min(into_shared, 0.7), into_private, elbo, dims=dims)
    return make.tables()
