"""Registry of penalties: quantities of a pass (E,), weighted in the loss or held under a level."""

from cdgm.utils.registry import Registry

PENALTIES = Registry(
    "penalty",
    {
        "hsic": "cdgm.objectives.penalties.hsic:HSIC",
        "hsic_normalised": "cdgm.objectives.penalties.hsic_normalised:NormalisedHSIC",
        "mmd_shared": "cdgm.objectives.penalties.mmd_shared:SharedMMD",
        "mmd_inactive": "cdgm.objectives.penalties.mmd_inactive:InactiveMMD",
        "wasserstein_inactive": "cdgm.objectives.penalties.wasserstein_inactive:InactiveWasserstein",
        "tc": "cdgm.objectives.penalties.tc:TotalCorrelation",
    },
)
