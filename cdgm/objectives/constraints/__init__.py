"""Registry of constraints: terms held under a level by multipliers. None yet."""

from cdgm.plugins import Registry

CONSTRAINTS = Registry("constraint", {})
