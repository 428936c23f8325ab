# What jobs read and are told (input functions and specifications), by the file that uses them. Snakemake's linter
# wants functions in files of their own. What all files share is in common.smk.


# Scores, tables, baselines and ceilings (evaluation.smk).


def evaluation_inputs(wildcards):
    """A fit, its data file and, for cells, their table."""
    fit = PLAN.evaluations[wildcards.evaluation].fit
    inputs = {
        "model": f"results/fits/{fit}/model.npz",
        "spec": f"results/fits/{fit}/spec.json",
    }
    inputs["data"] = data_file(fit)
    if not PLAN.fits[fit].simulated:
        inputs["cells"] = f"results/data/{PLAN.fits[fit].spec.dataset}/cells.csv"
    return inputs


def summary_inputs(wildcards):
    """Scores and histories of all fits of a study and, on cells, its baselines and maps."""
    rows = PLAN.studies[wildcards.study]
    inputs = {
        "metrics": [
            f"results/evaluations/{row.evaluation}/metrics.csv" for row in rows
        ],
        "histories": [
            f"results/fits/{PLAN.evaluations[row.evaluation].fit}/history.npz"
            for row in rows
        ],
    }
    if ceilings := ceiling_rows(wildcards.study):
        inputs["ceilings"] = [
            f"results/ceilings/{ceiling}/metrics.csv" for *_, ceiling in ceilings
        ]
    if on_cells(wildcards.study):
        inputs["baselines"] = [
            f"results/baselines/{row.evaluation}/metrics.csv"
            for row in baseline_rows(wildcards.study)
        ]
    if draws_maps(wildcards.study):
        inputs["maps"] = [f"results/maps/{row.evaluation}.csv" for row in rows]
    return inputs


def detection_inputs(wildcards):
    """Tables of a target's simulated studies, and the posterior means of their fits."""
    rows = detection_rows(CONFIG, PLAN, target_of(wildcards))
    return {
        "tables": [
            f"results/tables/{study}.csv"
            for study in dict.fromkeys(row["study"] for row in rows)
        ],
        "latents": [
            f"results/evaluations/{evaluation}/latents.npz"
            for evaluation in dict.fromkeys(row["evaluation"] for row in rows)
        ],
    }


def baseline_rows(study):
    """One row a data set of cells: the baselines do not depend on setting or variant."""
    return list({row.dataset: row for row in reversed(PLAN.studies[study])}.values())


def ceiling_rows(study):
    """Setting, data set and ceiling, once each: the true model does not depend on how fits were made."""
    rows = [row for row in PLAN.studies[study] if row.ceiling]
    return list(dict.fromkeys((row.setting, row.dataset, row.ceiling) for row in rows))


def study_row(row):
    """A stack's place in its study, and where its results lie."""
    return {
        "setting": row.setting,
        "variant": row.variant,
        "dataset": row.dataset,
        "fit": PLAN.evaluations[row.evaluation].fit,
        "evaluation": row.evaluation,
    }


def summary_spec(study):
    """The rows of a study's tables, and how its regrets are measured, if they are."""
    regret = CONFIG.studies[study].regret
    return ({} if regret is None else {"regret": dump(regret)}) | {
        "rows": [study_row(row) for row in PLAN.studies[study]],
        "maps": draws_maps(study),
        "baselines": (
            [study_row(row) for row in baseline_rows(study)] if on_cells(study) else []
        ),
        "ceilings": [
            {"setting": setting, "dataset": dataset, "ceiling": ceiling}
            for setting, dataset, ceiling in ceiling_rows(study)
        ],
    }


def ceiling_spec(ceiling):
    """A ceiling, with the simulation whose true model is scored."""
    job = PLAN.ceilings[ceiling]
    return {
        "ceiling": dump(job.spec),
        "simulation": dump(simulation_of(ceiling)),
        "null_draws": job.null_draws,
    }


def baselines_spec(evaluation):
    """How baselines are scored, and the model whose design and dimensions they match."""
    job = PLAN.evaluations[evaluation]
    return {"evaluation": dump(job.spec), "model": dump(PLAN.fits[job.fit].spec.model)}


def simulation_of(ceiling):
    """The simulation whose true model is scored."""
    return PLAN.simulations[PLAN.ceilings[ceiling].simulation].spec


def on_cells(study):
    """Whether a study is on cells (it then has baselines)."""
    return any(row.dataset in CONFIG.datasets for row in PLAN.studies[study])


def draws_maps(study):
    """Whether a study has a figure of maps, which take longer than scores."""
    return on_cells(study) and "cells" in CONFIG.studies[study].figures


# Verdicts and pages (claims.smk).


@cache
def judging(page):
    """Claims that a page judges: claims, claims_<target> or claims/<study>."""
    study = page.partition("/")[2]
    if not study:
        target = page.removeprefix("claims").removeprefix("_") or "all"
        return judging_of_target(STATED, target, LOOKS)
    claimed = {claim.study for claim in CONFIG.claims.values() if claim is not None}
    if study not in claimed:
        expected = f"a study with claims: one of {sorted(claimed)}"
        stop(bad_input(f"results/{page}", "", study, expected))
    return judging_of_study(STATED, study, LOOKS)


def page_options(page):
    """The ending of the first page that a page of claims links to, and the study that it is about."""
    study = page.partition("/")[2]
    target = CONFIG.studies[study].target if study else page.partition("_")[2]
    of = "" if target in ("", "all", "none") else f"_{target}"
    return f"--of={of} --study={study}"


def captions(target):
    """Digests of the captions of a target's figures."""
    figures = {f for study in studies_of(target) for f in CONFIG.studies[study].figures}
    figures |= {"detection"} if in_detection(target) else set()
    files = {f: Path(workflow.basedir) / "report" / f"{f}.rst" for f in sorted(figures)}
    return as_json({f: text_digest(file) for f, file in files.items()})
