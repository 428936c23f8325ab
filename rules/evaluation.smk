# Scores. In: fits and their data. Out: results/evaluations/<id>/, results/tables/<study>*.


# Run where snakemake runs: a job of a cluster would cost more than the work.
localrules:
    summarise,
    costs,


rule evaluate:
    """Score a fit on held-out points, each score beside its permutation null."""
    input:
        unpack(evaluation_inputs),
    output:
        metrics="results/evaluations/{evaluation}/metrics.csv",
        latents="results/evaluations/{evaluation}/latents.npz",
        provenance="results/evaluations/{evaluation}/provenance.json",
    log:
        "results/logs/evaluate/{evaluation}.log",
    benchmark:
        "results/benchmarks/evaluate/{evaluation}.tsv"
    conda:
        "../envs/cdgm.yaml"
    resources:
        mem_mb=lambda wildcards, input, attempt: int(2000 + 2 * input.size_mb) * attempt,
        runtime=lambda wildcards, attempt: 30 * attempt,
    params:
        spec=lambda w: as_json(PLAN.evaluations[w.evaluation].spec),
        cells=lambda w, input: (
            f"--cells {input.cells}" if "cells" in input.keys() else ""
        ),
        code=lambda w: code_of(
            "evaluate.py", PLAN.fits[PLAN.evaluations[w.evaluation].fit].spec.model
        ),
    shell:
        "python -m workflow_scripts.evaluate --spec results/specs/evaluate/{wildcards.evaluation}.json"
        " --fit-spec {input.spec} --model {input.model} --data {input.data} {params.cells} --out-dir results/evaluations/{wildcards.evaluation} 2> {log}"


rule trace:
    """Train a stack anew and score it on the way: a fit keeps its last parameters alone."""
    input:
        lambda w: data_file(w.fit),
    output:
        "results/traces/{fit}.csv",
    log:
        "results/logs/trace/{fit}.log",
    benchmark:
        "results/benchmarks/trace/{fit}.tsv"
    conda:
        "../envs/cdgm.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, input, attempt: int(2000 + 2 * input.size_mb) * attempt,
        runtime=lambda wildcards, attempt: 60 * attempt,
    params:
        spec=lambda w: as_json(PLAN.fits[w.fit].spec),
        code=lambda w: code_of("trace.py", PLAN.fits[w.fit].spec),
    shell:
        "python -m workflow_scripts.trace --spec results/specs/trace/{wildcards.fit}.json --data {input}"
        " --out {output} 2> {log}"


rule baselines:
    """Score linear baselines, a supervised ceiling and a floor on the cells of an evaluation."""
    input:
        data=lambda w: data_file(PLAN.evaluations[w.evaluation].fit),
        cells=lambda w: f"results/data/{PLAN.fits[PLAN.evaluations[w.evaluation].fit].spec.dataset}/cells.csv",
    output:
        "results/baselines/{evaluation}/metrics.csv",
    log:
        "results/logs/baselines/{evaluation}.log",
    benchmark:
        "results/benchmarks/baselines/{evaluation}.tsv"
    conda:
        "../envs/cdgm.yaml"
    resources:
        mem_mb=lambda wildcards, input, attempt: int(3000 + 2 * input.size_mb) * attempt,
        runtime=lambda wildcards, attempt: 30 * attempt,
    params:
        spec=lambda w: as_json(baselines_spec(w.evaluation)),
        root_seed=CONFIG.root_seed,
        code=digest("baselines.py"),
    shell:
        "python -m workflow_scripts.baselines --spec results/specs/baselines/{wildcards.evaluation}.json"
        " --root-seed {params.root_seed} --data {input.data} --cells {input.cells} --out {output} 2> {log}"


rule ceiling:
    """Score posterior means under the true model of a simulation: what no method can beat."""
    input:
        lambda w: f"results/simulations/{PLAN.ceilings[w.ceiling].simulation}/data.npz",
    output:
        "results/ceilings/{ceiling}/metrics.csv",
    log:
        "results/logs/ceiling/{ceiling}.log",
    benchmark:
        "results/benchmarks/ceiling/{ceiling}.tsv"
    conda:
        "../envs/cdgm.yaml"
    resources:
        mem_mb=lambda wildcards, attempt: 1500 * attempt,
        runtime=lambda wildcards, attempt: 60 * attempt,
    params:
        spec=lambda w: as_json(ceiling_spec(w.ceiling)),
        root_seed=CONFIG.root_seed,
        code=lambda w: code_of("ceiling.py", simulation_of(w.ceiling)),
    shell:
        "python -m workflow_scripts.ceiling --spec results/specs/ceiling/{wildcards.ceiling}.json"
        " --root-seed {params.root_seed} --data {input} --out {output} 2> {log}"


rule map_cells:
    """Lay out each latent space of a fit's first member in two dimensions, to be looked at."""
    input:
        latents="results/evaluations/{evaluation}/latents.npz",
        cells=lambda w: f"results/data/{PLAN.fits[PLAN.evaluations[w.evaluation].fit].spec.dataset}/cells.csv",
    output:
        "results/maps/{evaluation}.csv",
    log:
        "results/logs/map_cells/{evaluation}.log",
    benchmark:
        "results/benchmarks/map_cells/{evaluation}.tsv"
    conda:
        "../envs/cdgm.yaml"
    resources:
        mem_mb=lambda wildcards, attempt: 3000 * attempt,
        runtime=lambda wildcards, attempt: 30 * attempt,
    params:
        root_seed=CONFIG.root_seed,
        code=digest("map_cells.py"),
    shell:
        "python -m workflow_scripts.map_cells --latents {input.latents} --cells {input.cells}"
        " --root-seed {params.root_seed} --out {output} 2> {log}"


rule summarise:
    """Gather a study's scores into one long table and one of medians and intervals."""
    input:
        unpack(summary_inputs),
    output:
        scores="results/tables/{study}.csv",
        summary="results/tables/{study}_summary.csv",
        history="results/tables/{study}_history.parquet",
        maps="results/tables/{study}_maps.csv",
    log:
        "results/logs/summarise/{study}.log",
    benchmark:
        "results/benchmarks/summarise/{study}.tsv"
    conda:
        "../envs/cdgm.yaml"
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=lambda wildcards, attempt: 15 * attempt,
    params:
        spec=lambda w: as_json(summary_spec(w.study)),
        code=digest("summarise.py"),
    shell:
        "python -m workflow_scripts.summarise --study {wildcards.study}"
        " --spec results/specs/summarise/{wildcards.study}.json --results results"
        " --out-prefix results/tables/{wildcards.study} 2> {log}"


rule costs:
    """Gather times and memory of a study's jobs; not in the tables of scores, which repeat to the byte."""
    input:
        unpack(summary_inputs),
    output:
        "results/costs/{study}.csv",
    log:
        "results/logs/costs/{study}.log",
    benchmark:
        "results/benchmarks/costs/{study}.tsv"
    conda:
        "../envs/cdgm.yaml"
    resources:
        mem_mb=lambda wildcards, attempt: 1000 * attempt,
        runtime=lambda wildcards, attempt: 15 * attempt,
    params:
        spec=lambda w: as_json([study_row(row) for row in PLAN.studies[w.study]]),
        code=digest("costs.py"),
    shell:
        "python -m workflow_scripts.costs --study {wildcards.study}"
        " --spec results/specs/costs/{wildcards.study}.json --results results --out {output} 2> {log}"


rule detect:
    """Say how well scores without truth tell fits that went wrong, over a target's simulated studies."""
    input:
        unpack(detection_inputs),
    output:
        table="results/detection{of}.csv",
        members="results/detection{of}_members.csv",
    log:
        "results/logs/detect/detection{of}.log",
    benchmark:
        "results/benchmarks/detect/detection{of}.tsv"
    conda:
        "../envs/cdgm.yaml"
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=lambda wildcards, attempt: 30 * attempt,
    params:
        spec=lambda w: as_json(detection_rows(CONFIG, PLAN, target_of(w))),
        root_seed=CONFIG.root_seed,
        code=digest("detect.py"),
    shell:
        "python -m workflow_scripts.detect --spec results/specs/detect/detection{wildcards.of}.json"
        " --root-seed {params.root_seed} --results results --out {output.table} --members {output.members} 2> {log}"
