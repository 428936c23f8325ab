"""Registry of procedures: several trainings from which the members of a stack follow."""

from cdgm.utils.registry import Registry

PROCEDURES = Registry(
    "procedure",
    {
        "restarts": "cdgm.procedures.restarts:Restarts",
        "prune": "cdgm.procedures.prune:Prune",
    },
)
