"""Registry of constraints: quantities held at a level by multipliers."""

from cdgm.utils.registry import Registry

CONSTRAINTS = Registry(
    "constraint",
    {
        "upper_bound": "cdgm.objectives.constraints.upper_bound:UpperBound",
        "kl_floor": "cdgm.objectives.constraints.kl_floor:KLFloor",
    },
)
