"""Registry of combiners: how the sources' objectives become one gradient."""

from cdgm.plugins import Registry

COMBINERS = Registry("combiner", {"sum": "cdgm.objectives.combiners.sum:Sum"})
