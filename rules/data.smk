# Real data. In: the registry in the config. Out: results/downloads/, results/data/<dataset>/.


# Run where snakemake runs: nodes of a cluster often have no network.
localrules:
    fetch,


rule fetch:
    """Fetch a raw file: from the mirror folder if it is there, else from its source; verify it."""
    input:
        # Empty but for files of this machine, whose change makes the copy stale.
        lambda w: local_files(w.download),
    output:
        raw="results/downloads/{download}/raw",
        provenance="results/downloads/{download}/provenance.json",
    log:
        "results/logs/fetch/{download}.log",
    benchmark:
        "results/benchmarks/fetch/{download}.tsv"
    conda:
        "../envs/cdgm.yaml"
    resources:
        mem_mb=lambda wildcards, attempt: 500 * attempt,
        runtime=lambda wildcards, attempt: 60 * attempt,
    params:
        spec=lambda w: as_json(CONFIG.downloads[w.download]),
        code=lambda w: code_of("fetch.py", CONFIG.downloads[w.download]),
    shell:
        "python -m workflow_scripts.fetch --name {wildcards.download}"
        " --spec results/specs/fetch/{wildcards.download}.json"
        " --out {output.raw} 2> {log}"


rule preprocess:
    """Read raw files, add known effects if asked to, select genes, split: one data set of cells."""
    input:
        lambda w: [
            f"results/downloads/{download}/raw"
            for download in dataset_spec(w.dataset).files
        ],
    output:
        cells="results/data/{dataset}/cells.npz",
        table="results/data/{dataset}/cells.csv",
        genes="results/data/{dataset}/genes.csv",
        programs="results/data/{dataset}/programs.csv",
        provenance="results/data/{dataset}/provenance.json",
    log:
        "results/logs/preprocess/{dataset}.log",
    benchmark:
        "results/benchmarks/preprocess/{dataset}.tsv"
    conda:
        "../envs/cdgm.yaml"
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=lambda wildcards, attempt: 30 * attempt,
    params:
        spec=lambda w: as_json(CONFIG.datasets[w.dataset]),
        root_seed=CONFIG.root_seed,
        code=lambda w: code_of("preprocess.py", CONFIG.datasets[w.dataset]),
    shell:
        "python -m workflow_scripts.preprocess --name {wildcards.dataset}"
        " --spec results/specs/preprocess/{wildcards.dataset}.json"
        " --root-seed {params.root_seed} --raw {input} --out-dir results/data/{wildcards.dataset}"
        " 2> {log}"
