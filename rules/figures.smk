# Figures. In: results/tables/<study>*. Out: results/figures/<study>/<figure>.{png,pdf,csv}.


# One rule a figure and not one for all: each has a caption of its own in the report, and the path of a
# caption can't hold a wildcard.
for figure in sorted(
    {figure for study in CONFIG.studies.values() for figure in study.figures}
):

    rule:
        name:
            f"draw_{figure}"
        input:
            scores=lambda w, figure=figure: scores_to_draw(w.study, figure),
            history="results/tables/{study}_history.parquet",
            maps="results/tables/{study}_maps.csv",
            costs="results/costs/{study}.csv" if figure in WITH_COSTS else [],
            traces=lambda w, figure=figure: (
                traces_of(w.study) if figure in WITH_TRACES else []
            ),
        output:
            png=report(
                f"results/figures/{{study}}/{figure}.png",
                caption=f"../report/{figure}.rst",
                category="{study}",
                labels={"study": "{study}", "figure": figure},
            ),
            pdf=f"results/figures/{{study}}/{figure}.pdf",
            source=f"results/figures/{{study}}/{figure}.csv",
        log:
            f"results/logs/draw/{{study}}-{figure}.log",
        benchmark:
            f"results/benchmarks/draw/{{study}}-{figure}.tsv"
        # Seconds; a job of a cluster would cost more.
        localrule: True
        conda:
            "../envs/cdgm.yaml"
        resources:
            mem_mb=lambda wildcards, attempt: 1500 * attempt,
            runtime=lambda wildcards, attempt: 15 * attempt,
        params:
            figure=figure,
            costs="--costs" if figure in WITH_COSTS else "",
            traces="--traces" if figure in WITH_TRACES else "",
            code=digest("draw.py", FIGURES[figure].partition(":")[0]),
        shell:
            "python -m workflow_scripts.draw --study {wildcards.study} --figure {params.figure}"
            " --scores {input.scores} --history {input.history} --maps {input.maps}"
            " {params.costs} {input.costs} {params.traces} {input.traces}"
            " --out-prefix results/figures/{wildcards.study}/{params.figure} 2> {log}"


rule draw_detection:
    """Draw which scores without truth tell fits that went wrong."""
    input:
        table="results/detection{of}.csv",
        members="results/detection{of}_members.csv",
    output:
        png=report(
            "results/figures/detection{of}.png",
            caption="../report/detection.rst",
            category="all studies",
            labels={"study": "all", "figure": "detection"},
        ),
        pdf="results/figures/detection{of}.pdf",
        source="results/figures/detection{of}.csv",
    log:
        "results/logs/draw/detection{of}.log",
    benchmark:
        "results/benchmarks/draw/detection{of}.tsv"
    localrule: True
    conda:
        "../envs/cdgm.yaml"
    resources:
        mem_mb=lambda wildcards, attempt: 1500 * attempt,
        runtime=lambda wildcards, attempt: 15 * attempt,
    params:
        code=digest("draw.py", ACROSS_STUDIES["detection"].partition(":")[0]),
    shell:
        "python -m workflow_scripts.draw --study all{wildcards.of} --figure detection --scores {input.members}"
        " --detection {input.table} --out-prefix results/figures/detection{wildcards.of} 2> {log}"
