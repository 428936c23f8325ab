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
        "cdgm/claims/check.py",
        "cdgm/claims/expected_scores.py",
        "cdgm/claims/scope.py",
        "cdgm/config/claim_rules.py",
        "cdgm/utils/command_line.py",
        "cdgm/config/study.py",
        "cdgm/workflow/code_digest.py",
        "cdgm/utils/errors.py",
        "cdgm/config/layers.py",
        "cdgm/workflow/plan.py",
        "cdgm/utils/progress.py",
        "cdgm/utils/provenance.py",
        "cdgm/config/json_schema.py",
        "cdgm/workflow/timings_plan.py",
        "cdgm/config/validation.py",
        "cdgm/workflow/failures.py",
        # Models of one's own data, and the README, are no part of the workflow.
        "cdgm/estimator/",
        "cdgm/cli/",
        "cdgm/evaluation/metrics/stability.py",
        "cdgm/reports/fit_report.py",
        "cdgm/reports/templates/fit.html.j2",
        "cdgm/reports/templates/glossary.html.j2",
        "cdgm/figures/choices.py",
        "cdgm/figures/own_data.py",
        # Tables of plug-ins.
        "cdgm/data/downloads/__init__.py",
        "cdgm/data/genes/__init__.py",
        "cdgm/data/readers/__init__.py",
        "cdgm/models/likelihoods/__init__.py",
        "cdgm/objectives/combiners/__init__.py",
        "cdgm/objectives/constraints/__init__.py",
        "cdgm/objectives/penalties/__init__.py",
        "cdgm/simulation/latents/__init__.py",
        "cdgm/simulation/mixings/__init__.py",
        "cdgm/simulation/noises/__init__.py",
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
        "cdgm/config/dataset.py",
        "cdgm/data/counts.py",
        "cdgm/data/preprocess.py",
        "cdgm/data/spike_in.py",
        "workflow_scripts/preprocess.py",
    ),
    "preprocess*": ("cdgm/data/genes/", "cdgm/data/readers/"),
    "simulate": ("workflow_scripts/simulate.py",),
    "ceiling, simulate": (
        "cdgm/simulation/__init__.py",
        "cdgm/simulation/latents/base.py",
        "cdgm/simulation/latents/standard_normal.py",  # the law where none is named
        "cdgm/simulation/mixings/base.py",
        "cdgm/simulation/noises/base.py",
        "cdgm/simulation/simulate.py",
    ),
    "ceiling*, simulate*": (
        "cdgm/simulation/latents/",
        "cdgm/simulation/mixings/",
        "cdgm/simulation/noises/",
    ),
    "ceiling": (
        "cdgm/evaluation/true_model.py",
        "cdgm/simulation/true_posterior.py",
        "workflow_scripts/ceiling.py",
    ),
    "fit": (
        "cdgm/training/device.py",
        "cdgm/objectives/lagrangian.py",
        "cdgm/objectives/per_source.py",
        "cdgm/training/loop.py",
        "workflow_scripts/fit.py",
    ),
    "fit*": (
        "cdgm/objectives/combiners/",
        "cdgm/objectives/constraints/",
        "cdgm/objectives/null_quantiles.py",
        "cdgm/objectives/penalties/",
        "cdgm/objectives/simplex.py",
    ),
    "evaluate, fit": (
        "cdgm/training/batches.py",
        "cdgm/models/inference.py",
        "cdgm/models/comparative_vae.py",
        "cdgm/models/likelihoods/base.py",
        "cdgm/models/stacks.py",
        "cdgm/objectives/context.py",
    ),
    "evaluate*, fit*": ("cdgm/models/likelihoods/",),
    "evaluate, fit*": ("cdgm/objectives/constraints/base.py",),
    "evaluate": ("cdgm/evaluation/fits.py", "workflow_scripts/evaluate.py"),
    "ceiling, evaluate": (
        "cdgm/evaluation/metrics/independence.py",
        "cdgm/evaluation/metrics/leakage.py",
        "cdgm/evaluation/metrics/regression.py",
        "cdgm/evaluation/metrics/simulation.py",
    ),
    "ceiling, evaluate, fit*": ("cdgm/objectives/kernels.py",),
    "baselines, ceiling, evaluate": (
        "cdgm/evaluation/metrics/split_half.py",
        "cdgm/evaluation/metrics/nulls.py",
        "cdgm/evaluation/metrics/recovery.py",
        "cdgm/config/evaluation.py",
    ),
    "baselines, ceiling, evaluate, draw*": ("cdgm/evaluation/metrics/__init__.py",),
    "baselines, evaluate": (
        "cdgm/evaluation/metrics/baselines.py",
        "cdgm/evaluation/metrics/latent_space_scores.py",
        "cdgm/evaluation/metrics/label_scores.py",
        "cdgm/evaluation/metrics/mixing.py",
    ),
    "baselines, evaluate, map_cells": ("cdgm/data/cell_table.py",),
    "baselines": ("workflow_scripts/baselines.py",),
    "map_cells": ("cdgm/evaluation/embedding.py", "workflow_scripts/map_cells.py"),
    "summarise": ("cdgm/evaluation/study_tables.py", "workflow_scripts/summarise.py"),
    "costs": ("cdgm/workflow/costs.py", "cdgm/workflow/benchmarks.py", "workflow_scripts/costs.py"),
    "draw": ("cdgm/figures/catalogue.py", "cdgm/plotting/style.py", "workflow_scripts/draw.py"),
    "draw*": ("cdgm/evaluation/metrics/bounds.py", "cdgm/plotting/"),
    "draw, index, judge": (
        "cdgm/plotting/__init__.py",
        "cdgm/evaluation/catalogue.py",
        "cdgm/evaluation/table_slices.py",
    ),
    "judge, summarise": ("cdgm/evaluation/intervals.py",),
    "judge": (
        "cdgm/claims/__init__.py",
        "cdgm/claims/findings.py",
        "cdgm/claims/judge.py",
        "cdgm/config/claim.py",
        "cdgm/reports/claims_page.py",
        "cdgm/reports/intervals.py",
        "cdgm/reports/templates/claims.html.j2",
        "cdgm/reports/templates/interval.svg.j2",
        "workflow_scripts/judge.py",
    ),
    "index, judge": ("cdgm/reports/",),
    "index": (
        "cdgm/reports/captions.py",
        "cdgm/reports/index.py",
        "cdgm/reports/templates/index.html.j2",
        "workflow_scripts/index.py",
    ),
    # What many share.
    "baselines, costs, evaluate, fit, summarise": (
        "cdgm/models/__init__.py",
        "cdgm/objectives/__init__.py",
        "cdgm/config/fit.py",
    ),
    "baselines, costs, evaluate, fit, summarise, ceiling*, simulate*": ("cdgm/config/twist.py",),
    "baselines, ceiling, evaluate, fit, preprocess": ("cdgm/data/bundle.py",),
    "baselines, ceiling, evaluate, fit, preprocess, simulate": ("cdgm/config/support.py",),
    "baselines, ceiling, evaluate, fetch, fit, map_cells, preprocess": ("cdgm/data/__init__.py",),
    "baselines, ceiling, costs, evaluate, fit, preprocess, simulate, summarise": ("cdgm/config/design.py",),
    "baselines, ceiling, evaluate, fit, map_cells, preprocess, simulate": ("cdgm/utils/random_streams.py",),
    "baselines, ceiling, costs, evaluate, fetch, fit, judge, preprocess, simulate, summarise": (
        "cdgm/utils/registry.py",
    ),
    "baselines, ceiling, costs, draw, evaluate, fetch, fit, index, judge, map_cells, preprocess, simulate,"
    " summarise": ("cdgm/utils/files.py",),
}
# Plug-ins that others are built on.
BUILT_ON = {
    "cdgm.simulation.latents.standard_normal": "all simulations",
    "cdgm.figures.recovery": ("cdgm.figures.twist", "cdgm.figures.two_models"),
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
