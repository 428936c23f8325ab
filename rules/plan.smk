# The plan. In: the config. Out: results/plan.csv, which says what every id of a target's studies stands for.


# Seconds; a job of a cluster would cost more.
localrules:
    plan,


rule plan:
    """List every stack of a target's studies: its setting, variant and seeds, and the ids of its results."""
    output:
        "results/plan{of}.csv",
    log:
        "results/logs/plan/plan{of}.log",
    benchmark:
        "results/benchmarks/plan/plan{of}.tsv"
    # Before all others: whoever watches the run can look ids up.
    priority: 1
    conda:
        "../envs/cdgm.yaml"
    resources:
        mem_mb=lambda wildcards, attempt: 500 * attempt,
        runtime=lambda wildcards, attempt: 15 * attempt,
    params:
        spec=lambda w: as_json(plan_rows(CONFIG, PLAN, target_of(w))),
        code=digest("plan.py"),
    shell:
        "python -m workflow_scripts.plan --spec results/specs/plan/plan{wildcards.of}.json --out {output} 2> {log}"
