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
        mem_mb=lambda wildcards, attempt: 1500 * attempt,
        runtime=lambda wildcards, attempt: 30 * attempt,
    params:
        spec=lambda w: as_json(PLAN.fits[w.fit].spec),
        code=lambda w: code_of("fit.py", PLAN.fits[w.fit].spec),
    shell:
        'python "$CDGM_SCRIPTS/fit.py" --spec {params.spec:q} --data {input} --threads {threads}'
        " --out-dir results/fits/{wildcards.fit} 2> {log}"
