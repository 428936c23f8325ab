# Simulated data. In: settings in the config. Out: results/simulations/<id>/data.npz, all replicates of a block.


rule simulate:
    """Simulate all replicates of a setting."""
    output:
        "results/simulations/{simulation}/data.npz",
    params:
        spec=lambda w: as_json(PLAN.simulations[w.simulation].spec),
        seeds=lambda w: as_json(PLAN.simulations[w.simulation].seeds),
        root_seed=CONFIG.root_seed,
        code=lambda w: code_of("simulate.py", PLAN.simulations[w.simulation].spec),
    log:
        "results/logs/simulate/{simulation}.log",
    benchmark:
        "results/benchmarks/simulate/{simulation}.tsv"
    conda:
        "../envs/cdgm.yaml"
    resources:
        mem_mb=lambda wildcards, attempt: 1500 * attempt,
        runtime=lambda wildcards, attempt: 15 * attempt,
    shell:
        "python {SCRIPTS}/simulate.py --spec {params.spec:q} --seeds {params.seeds:q}"
        " --root-seed {params.root_seed} --out {output} 2> {log}"
