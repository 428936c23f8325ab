"""The figures of the studies, one module each; a new one is a module here and a line in the table."""

from cdgm.utils.registry import Registry

FIGURES = Registry(
    "figure",
    {
        "assumptions": "cdgm.figures.assumptions:draw",
        "cells": "cdgm.figures.cells:draw",
        "cells_tradeoff": "cdgm.figures.cells_tradeoff:draw",
        "constraints": "cdgm.figures.constraints:draw",
        "counts": "cdgm.figures.counts:draw",
        "dims": "cdgm.figures.dims:draw",
        "doses": "cdgm.figures.doses:draw",
        "lost_dimensions": "cdgm.figures.lost_dimensions:draw",
        "multipliers": "cdgm.figures.multipliers:draw",
        "objectives": "cdgm.figures.objectives:draw",
        "procedures": "cdgm.figures.procedures:draw",
        "recovery": "cdgm.figures.recovery:draw",
        "recovery_limit": "cdgm.figures.recovery_limit:draw",
        "regrets": "cdgm.figures.regrets:draw",
        "scaling": "cdgm.figures.scaling:draw",
        "schedule_traces": "cdgm.figures.schedule_traces:draw",
        "screens": "cdgm.figures.screens:draw",
        "sources": "cdgm.figures.sources:draw",
        "training": "cdgm.figures.training:draw",
        "twist": "cdgm.figures.twist:draw",
        "two_models": "cdgm.figures.two_models:draw",
        "weight_traces": "cdgm.figures.weight_traces:draw",
        "weights": "cdgm.figures.weights:draw",
    },
)
#: Figures of all simulated studies of a target together.
ACROSS_STUDIES = Registry("figure across studies", {
    "detection": "cdgm.figures.detection:draw",
})  # fmt: skip
#: What a figure needs of its study: cells, or truths (simulations), and beside these a twist, constraints, or
#: fits that are one training each, which alone can be traced.
NEEDS = {
    **dict.fromkeys(("cells", "cells_tradeoff", "doses", "screens"), ("cells",)),
    **dict.fromkeys(
        (
            *("assumptions", "counts", "dims", "lost_dimensions", "procedures", "recovery"),
            *("recovery_limit", "regrets", "scaling", "sources"),
        ),
        ("truths",),
    ),
    **dict.fromkeys(("twist", "two_models"), ("truths", "twist")),
    "multipliers": ("constraints",),
    "schedule_traces": ("truths", "single trainings"),
}
#: Figures that also read the table of what fits cost.
WITH_COSTS = frozenset({"scaling"})
#: Figures that also read the scores of fits step by step.
WITH_TRACES = frozenset({"schedule_traces"})
