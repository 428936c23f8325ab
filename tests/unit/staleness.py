"""What a changed constant makes stale: the contract that the tests hold digests of code against."""

from __future__ import annotations

# Jobs whose own code a module is, by module or folder of modules; the longest name that fits counts. What is
# made from their results follows, which is Snakemake's part. A star: only jobs whose specification names a
# plug-in that is there, or one that uses what is there.
OUTCOMES: dict[str, tuple[str, ...]] = {
    "nothing": (
        # They check, tell, record and plan: what a job is given stands in its parameters.
        "cdgm/__init__.py",
        "cdgm/__main__.py",
        "cdgm/claims_check.py",
        "cdgm/claims_plan.py",
        "cdgm/command_line.py",
        "cdgm/config.py",
        "cdgm/digest.py",
        "cdgm/errors.py",
        "cdgm/overlays.py",
        "cdgm/plan.py",
        "cdgm/progress.py",
        "cdgm/provenance.py",
        "cdgm/schema.py",
        "cdgm/timings_plan.py",
        "cdgm/validation.py",
        "cdgm/workflow_log.py",
        # Models of one's own data, and the README, are no part of the workflow.
        "cdgm/api/",
        "cdgm/cli/",
        "cdgm/metrics/stability.py",
        "cdgm/pages/own_data.py",
        "cdgm/pages/readme_table.py",
        "cdgm/plotting/choices.py",
        "cdgm/plotting/own_data.py",
        # Tables of plug-ins.
        "cdgm/data/downloads/__init__.py",
        "cdgm/data/genes/__init__.py",
        "cdgm/data/readers/__init__.py",
        "cdgm/models/likelihoods/__init__.py",
        "cdgm/objectives/combiners/__init__.py",
        "cdgm/objectives/constraints/__init__.py",
        "cdgm/objectives/penalties/__init__.py",
        "cdgm/synthetic/latents/__init__.py",
        "cdgm/synthetic/mixings/__init__.py",
        "cdgm/synthetic/noises/__init__.py",
    ),
    "fetch": (
        "cdgm/data/downloads/base.py",
        "cdgm/data/fetch.py",
        "cdgm/data/partial.py",
        "workflow_scripts/fetch.py",
    ),
    "fetch*": ("cdgm/data/downloads/",),
    "preprocess": (
        "cdgm/data/cells.py",
        "cdgm/data/config.py",
        "cdgm/data/counts.py",
        "cdgm/data/preprocess.py",
        "cdgm/data/spike_in.py",
        "workflow_scripts/preprocess.py",
    ),
    "preprocess*": ("cdgm/data/genes/", "cdgm/data/readers/"),
    "simulate": ("workflow_scripts/simulate.py",),
    "ceiling, simulate": (
        "cdgm/synthetic/__init__.py",
        "cdgm/synthetic/latents/_base.py",
        "cdgm/synthetic/latents/standard_normal.py",  # the law where none is named
        "cdgm/synthetic/mixings/_base.py",
        "cdgm/synthetic/noises/_base.py",
        "cdgm/synthetic/simulate.py",
    ),
    "ceiling*, simulate*": ("cdgm/synthetic/latents/", "cdgm/synthetic/mixings/", "cdgm/synthetic/noises/"),
    "ceiling": ("cdgm/ceiling.py", "cdgm/synthetic/posterior.py", "workflow_scripts/ceiling.py"),
    "fit": (
        "cdgm/devices.py",
        "cdgm/objectives/lagrangian.py",
        "cdgm/objectives/per_source.py",
        "cdgm/training.py",
        "workflow_scripts/fit.py",
    ),
    "fit*": (
        "cdgm/objectives/combiners/",
        "cdgm/objectives/constraints/",
        "cdgm/objectives/kernels.py",
        "cdgm/objectives/null_quantiles.py",
        "cdgm/objectives/penalties/",
        "cdgm/objectives/simplex.py",
    ),
    "evaluate, fit": (
        "cdgm/data/batches.py",
        "cdgm/inference.py",
        "cdgm/models/comparative_vae.py",
        "cdgm/models/likelihoods/_base.py",
        "cdgm/models/stacks.py",
        "cdgm/objectives/setup.py",
    ),
    "evaluate*, fit*": ("cdgm/models/likelihoods/",),
    "evaluate, fit*": ("cdgm/objectives/constraints/_base.py",),
    "evaluate": ("cdgm/evaluation.py", "workflow_scripts/evaluate.py"),
    "ceiling, evaluate": (
        "cdgm/metrics/independence.py",
        "cdgm/metrics/leakage.py",
        "cdgm/metrics/regression.py",
        "cdgm/metrics/simulation.py",
    ),
    "ceiling, evaluate, fit*": ("cdgm/bandwidth.py",),
    "baselines, ceiling, evaluate": (
        "cdgm/metrics/halves.py",
        "cdgm/metrics/nulls.py",
        "cdgm/metrics/recovery.py",
        "cdgm/metrics/spec.py",
    ),
    "baselines, ceiling, evaluate, draw*": ("cdgm/metrics/__init__.py",),
    "baselines, evaluate": (
        "cdgm/metrics/baselines.py",
        "cdgm/metrics/cell_scores.py",
        "cdgm/metrics/cells.py",
        "cdgm/metrics/mixing.py",
    ),
    "baselines, evaluate, map_cells": ("cdgm/data/cell_table.py",),
    "baselines": ("workflow_scripts/baselines.py",),
    "map_cells": ("cdgm/maps.py", "workflow_scripts/map_cells.py"),
    "summarise": ("cdgm/tables.py", "workflow_scripts/summarise.py"),
    "costs": ("cdgm/costs.py", "cdgm/timings.py", "workflow_scripts/costs.py"),
    "draw": ("cdgm/plotting/figures.py", "cdgm/plotting/style.py", "workflow_scripts/draw.py"),
    "draw*": ("cdgm/metrics/bounds.py", "cdgm/plotting/"),
    "draw, index, judge": ("cdgm/plotting/__init__.py", "cdgm/plotting/tables.py", "cdgm/references.py"),
    "judge": ("workflow_scripts/judge.py",),
    "index, judge": ("cdgm/claim_numbers.py", "cdgm/claims.py", "cdgm/claims_config.py", "cdgm/pages/"),
    "index": ("cdgm/pages/captions.py", "cdgm/pages/index.py", "workflow_scripts/index.py"),
    # What many share.
    "baselines, costs, evaluate, fit, summarise": (
        "cdgm/models/__init__.py",
        "cdgm/objectives/__init__.py",
        "cdgm/specs.py",
    ),
    "baselines, costs, evaluate, fit, summarise, ceiling*, simulate*": ("cdgm/twist.py",),
    "baselines, ceiling, evaluate, fit, preprocess": ("cdgm/data/bundle.py",),
    "baselines, ceiling, evaluate, fit, preprocess, simulate": ("cdgm/support.py",),
    "baselines, ceiling, evaluate, fetch, fit, map_cells, preprocess": ("cdgm/data/__init__.py",),
    "baselines, ceiling, costs, evaluate, fit, preprocess, simulate, summarise": ("cdgm/designs.py",),
    "baselines, ceiling, evaluate, fit, index, judge, map_cells, preprocess, simulate, summarise": (
        "cdgm/streams.py",
    ),
    "baselines, ceiling, costs, evaluate, fetch, fit, index, judge, preprocess, simulate, summarise": (
        "cdgm/plugins.py",
    ),
    "baselines, ceiling, costs, draw, evaluate, fetch, fit, index, judge, map_cells, preprocess, simulate,"
    " summarise": ("cdgm/files.py",),
}
# Plug-ins that others are built on.
BUILT_ON = {
    "cdgm.synthetic.latents.standard_normal": "all simulations",
    "cdgm.plotting.recovery": ("cdgm.plotting.twist", "cdgm.plotting.two_models"),
}


def outcome_of(module: str) -> str | None:
    """Declared outcome of a module; None where there is none."""
    found = {
        name: outcome for outcome, names in OUTCOMES.items() for name in names if module.startswith(name)
    }
    return found[max(found, key=len)] if found else None


def table() -> str:
    """The contract as ``docs/robustness.md`` has it."""
    rows = ["| edited | stale, and what is made from it |", "|---|---|"]
    for outcome, names in OUTCOMES.items():
        jobs = outcome if outcome == "nothing" else ", ".join(f"`{job}`" for job in outcome.split(", "))
        shown = ", ".join(f"`{name.removeprefix('cdgm/')}`" for name in names)
        jobs = jobs.replace("*`", "` where named")
        rows.append(f"| {shown} | {jobs} |")
    return "\n".join(rows)
