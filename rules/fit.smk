# Fits. In: a data file. Out: results/fits/<id>/, one replicate stack each, on one thread.


rule fit:
    """Fit one replicate stack: a configuration with a block of seeds."""
    input:
        lambda w: data_file(w.fit),
    output:
        model="results/fits/{fit}/model.npz",
        history="results/fits/{fit}/history.npz",
        spec="results/fits/{fit}/spec.json",
        provenance="results/fits/{fit}/provenance.json",
    log:
        "results/logs/fit/{fit}.log",
    benchmark:
        "results/benchmarks/fit/{fit}.tsv"
    conda:
        "../envs/cdgm.yaml"
    threads: 1
    resources:
        # Counts of an atlas are held once, some more rows of them as floating point numbers.
        mem_mb=lambda wildcards, input, attempt: int(1500 + 2 * input.size_mb) * attempt,
        runtime=lambda wildcards, attempt: 30 * attempt,
    params:
        spec=lambda w: as_json(PLAN.fits[w.fit].spec),
        code=lambda w: code_of("fit.py", PLAN.fits[w.fit].spec),
    shell:
        "python -m workflow_scripts.fit --spec results/specs/fit/{wildcards.fit}.json --data {input}"
        " --threads {threads} --out-dir results/fits/{wildcards.fit} 2> {log}"
