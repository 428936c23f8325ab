"""Reproduce the claims on identifiable comparative deep generative models, from simulation to figures.

Flow: simulate | fetch, preprocess -> fit -> evaluate -> summarise -> draw. One rule file a stage.
"""

from snakemake.utils import min_version

min_version("9.20")


# First: it reads all config files, and tells the line of a mistake, which Snakemake would not.
include: "rules/common.smk"


configfile: f"{workflow.basedir}/config.yaml"


report: "report/workflow.rst"


include: "rules/jobs.smk"
include: "rules/plan.smk"
include: "rules/data.smk"
include: "rules/simulation.smk"
include: "rules/fit.smk"
include: "rules/evaluation.smk"
include: "rules/figures.smk"
include: "rules/claims.smk"


localrules:
    all,
    perturbseq,
    atlas,
    scaling,
    beyond,
    decide,


onstart:
    write_looks()
    write_specs_of_jobs()


onsuccess:
    # No rule of its own: times are no result, and nothing may become stale by them.
    note_timings()
    finish()


onerror:
    finish()


rule all:
    """All studies that need no more than the package index."""
    default_target: True
    input:
        study_outputs("all"),


rule decide:
    """`all`, and other targets that were judged before, with more seeds for claims that are undecided."""
    input:
        study_outputs("all"),
        [
            study_outputs(target)
            for target in ("perturbseq", "beyond")
            if Path(f"results/claims_{target}.csv").exists()
        ],


rule perturbseq:
    """The studies on Perturb-seq data, which are downloaded."""
    input:
        study_outputs("perturbseq"),


rule atlas:
    """The studies on large screens, which are downloads of 0.7 and 1.5 GB."""
    input:
        study_outputs("atlas"),


rule scaling:
    """Recovery, time and memory as features, latents and points grow: half an hour on one core."""
    input:
        study_outputs("scaling"),


rule beyond:
    """What goes beyond the paper: schedules of KL terms, known doses on real counts."""
    input:
        study_outputs("beyond"),
