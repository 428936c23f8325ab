# Figures. In: results/tables/<study>*. Out: results/figures/<study>/<figure>.{png,pdf,csv}.


rule draw:
    """Draw one figure from a study's tables, with the numbers that it shows beside it."""
    input:
        scores="results/tables/{study}.csv",
        history="results/tables/{study}_history.parquet",
        maps="results/tables/{study}_maps.csv",
    output:
        png=report(
            "results/figures/{study}/{figure}.png",
            caption="../report/{figure}.rst",
            category="{study}",
            labels={"study": "{study}", "figure": "{figure}"},
        ),
        pdf="results/figures/{study}/{figure}.pdf",
        source="results/figures/{study}/{figure}.csv",
    log:
        "results/logs/draw/{study}-{figure}.log",
    benchmark:
        "results/benchmarks/draw/{study}-{figure}.tsv"
    conda:
        "../envs/cdgm.yaml"
    resources:
        mem_mb=lambda wildcards, attempt: 1500 * attempt,
        runtime=lambda wildcards, attempt: 15 * attempt,
    params:
        code=lambda w: digest("draw.py", f"cdgm.plotting.{w.figure}"),
    shell:
        'python "$CDGM_SCRIPTS/draw.py" --study {wildcards.study} --figure {wildcards.figure}'
        " --scores {input.scores} --history {input.history} --maps {input.maps}"
        " --out-prefix results/figures/{wildcards.study}/{wildcards.figure} 2> {log}"
