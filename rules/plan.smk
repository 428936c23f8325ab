# The plan. In: the config. Out: results/plan.csv, which says what every id stands for.


# Seconds; a job of a cluster would cost more.
localrules:
    plan,


rule plan:
    """List every stack of every study: its setting, variant and seeds, and the ids of its results."""
    output:
        "results/plan.csv",
    log:
        "results/logs/plan/plan.log",
    benchmark:
        "results/benchmarks/plan/plan.tsv"
    # Before all others: whoever watches the run can look ids up.
    priority: 1
    conda:
        "../envs/cdgm.yaml"
    resources:
        mem_mb=lambda wildcards, attempt: 500 * attempt,
        runtime=lambda wildcards, attempt: 15 * attempt,
    params:
        spec=as_json(plan_rows(CONFIG, PLAN)),
        code=digest("plan.py"),
    shell:
        "python -m workflow_scripts.plan --spec results/specs/plan/plan.json --out {output} 2> {log}"
