# Verdicts and the pages to start from. In: results/tables/<study>.csv. Out: results/claims*, results/index*.
# The files of the target `all` have plain names; those of another end with _<target>. The claims on one study
# are judged by its table alone: results/claims/<study>.html.


# Seconds each; a job of a cluster would cost more.
localrules:
    judge,
    index,


rule judge:
    """Compare every claim with the scores of its study."""
    input:
        lambda w: [
            f"results/tables/{study}.csv" for study in judged_studies(judging(w.page))
        ],
    output:
        table="results/{page}.csv",
        page="results/{page}.html",
    log:
        "results/logs/judge/{page}.log",
    benchmark:
        "results/benchmarks/judge/{page}.tsv"
    conda:
        "../envs/cdgm.yaml"
    resources:
        mem_mb=lambda wildcards, attempt: 1500 * attempt,
        runtime=lambda wildcards, attempt: 15 * attempt,
    params:
        spec=lambda w: as_json(judging(w.page)),
        options=lambda w: page_options(w.page),
        code=digest("judge.py"),
    shell:
        "python -m workflow_scripts.judge --claims results/specs/judge/{wildcards.page}.json --tables {input}"
        " {params.options} --out {output.table} --page {output.page} 2> {log}"


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
        spec=lambda w: as_json(
            [
                {"study": study, "figures": CONFIG.studies[study].figures}
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
        detection=lambda w: (
            f"--detection detection{w.of}" if in_detection(target_of(w)) else ""
        ),
    shell:
        "python -m workflow_scripts.index --spec results/specs/index/index{wildcards.of}.json {params.claims}"
        " {params.detection}"
        " --root-seed {params.root_seed} --results results --out {output} 2> {log}"
