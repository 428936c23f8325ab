"""Registry of combiners: how the sources' objectives become one gradient."""

from cdgm.utils.registry import Registry

COMBINERS = Registry(
    "combiner",
    {
        "sum": "cdgm.objectives.combiners.sum:Sum",
        "size_weighted": "cdgm.objectives.combiners.size_weighted:SizeWeighted",
        "fixed": "cdgm.objectives.combiners.fixed:Fixed",
        "single": "cdgm.objectives.combiners.single:Single",
        "mgda": "cdgm.objectives.combiners.mgda:MGDA",
        "pcgrad": "cdgm.objectives.combiners.pcgrad:PCGrad",
        "cagrad": "cdgm.objectives.combiners.cagrad:CAGrad",
    },
)
