# Simulated data. In: settings in the config. Out: results/simulations/<id>/data.npz, all replicates of a block.


rule simulate:
    """Simulate all replicates of a setting."""
    output:
        data="results/simulations/{simulation}/data.npz",
        provenance="results/simulations/{simulation}/provenance.json",
    log:
        "results/logs/simulate/{simulation}.log",
    benchmark:
        "results/benchmarks/simulate/{simulation}.tsv"
    conda:
        "../envs/cdgm.yaml"
    resources:
        mem_mb=lambda wildcards, attempt: 1500 * attempt,
        runtime=lambda wildcards, attempt: 15 * attempt,
    params:
        spec=lambda w: as_json(PLAN.simulations[w.simulation].spec),
        seeds=lambda w: PLAN.simulations[w.simulation].seeds,
        root_seed=CONFIG.root_seed,
        code=lambda w: code_of("simulate.py", PLAN.simulations[w.simulation].spec),
    shell:
        "python -m workflow_scripts.simulate --spec results/specs/simulate/{wildcards.simulation}.json --seeds {params.seeds}"
        " --root-seed {params.root_seed} --out {output.data} 2> {log}"
