"""Registry of constraints: quantities held at a level by multipliers."""

from cdgm.utils.registry import Registry

CONSTRAINTS = Registry(
    "constraint",
    {
        "at_most": "cdgm.objectives.constraints.at_most:AtMost",
        "kl_floor": "cdgm.objectives.constraints.kl_floor:KLFloor",
    },
)
