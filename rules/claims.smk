# Verdicts and the pages to start from. In: results/tables/<study>.csv. Out: results/claims*, results/index*.
# The files of the target `all` have plain names; those of another end with _<target>.


# Seconds each; a job of a cluster would cost more.
localrules:
    write_claims,
    judge,
    index,


# All claims are too long for a command line.
rule write_claims:
    """Write down what is claimed in this configuration, and what can't be judged in it."""
    output:
        "results/claims{of}.json",
    log:
        "results/logs/write_claims/claims{of}.log",
    benchmark:
        "results/benchmarks/write_claims/claims{of}.tsv"
    resources:
        mem_mb=lambda wildcards, attempt: 500 * attempt,
        runtime=lambda wildcards, attempt: 15 * attempt,
    params:
        claims=lambda w: as_json(as_job(CONFIG, target_of(w))),
    run:
        write_json(output[0], json.loads(params.claims))


rule judge:
    """Hold every claim against the scores of its study."""
    input:
        claims="results/claims{of}.json",
        tables=lambda w: [
            f"results/tables/{study}.csv"
            for study in judged_studies(CONFIG, target_of(w))
        ],
    output:
        table="results/claims{of}.csv",
        page="results/claims{of}.html",
    log:
        "results/logs/judge/claims{of}.log",
    benchmark:
        "results/benchmarks/judge/claims{of}.tsv"
    conda:
        "../envs/cdgm.yaml"
    resources:
        mem_mb=lambda wildcards, attempt: 1500 * attempt,
        runtime=lambda wildcards, attempt: 15 * attempt,
    params:
        root_seed=CONFIG.root_seed,
        code=digest("judge.py"),
    shell:
        "python -m workflow_scripts.judge --claims {input.claims} --tables {input.tables}"
        " --root-seed {params.root_seed} --out {output.table} --page {output.page} 2> {log}"


rule index:
    """Lay out verdicts, figures and tables of a target on one page."""
    input:
        unpack(page_inputs),
    output:
        "results/index{of}.html",
    log:
        "results/logs/index/index{of}.log",
    benchmark:
        "results/benchmarks/index/index{of}.tsv"
    conda:
        "../envs/cdgm.yaml"
    resources:
        mem_mb=lambda wildcards, attempt: 1500 * attempt,
        runtime=lambda wildcards, attempt: 15 * attempt,
    params:
        studies=lambda w: as_json(
            [
                [study, CONFIG.studies[study].figures]
                for study in studies_of(target_of(w))
            ]
        ),
        # What they say and not where they lie: another checkout is no reason to run again.
        captions=lambda w: captions(target_of(w)),
        root_seed=CONFIG.root_seed,
        code=digest("index.py"),
        claims=lambda w, input: (
            f"--claims {input.claims}" if "claims" in input.keys() else ""
        ),
    shell:
        "python -m workflow_scripts.index --studies {params.studies:q} {params.claims}"
        " --root-seed {params.root_seed} --results results --out {output} 2> {log}"
