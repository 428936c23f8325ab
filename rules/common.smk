# Shared by all: the validated config, the plan of jobs, code digests and paths. Nothing else.
# Each function gives a job just the part of the config that its result depends on.

import os
import sys
import threading
from functools import cache
from pathlib import Path

from snakemake.logging import logger

# The command lines run with this very interpreter and this checkout's package, installed or not, wherever
# the working directory is. One thread a job: cores are used by jobs.
os.environ.update(
    PATH=os.pathsep.join(
        [str(Path(sys.executable).parent), os.environ.get("PATH", "")]
    ),
    PYTHONPATH=os.pathsep.join(
        filter(None, [str(workflow.basedir), os.environ.get("PYTHONPATH")])
    ),
    OMP_NUM_THREADS="1",
    MKL_NUM_THREADS="1",
    OPENBLAS_NUM_THREADS="1",
    NUMBA_NUM_THREADS="1",
    MPLBACKEND="Agg",
    # Text of jobs is UTF-8 in every locale.
    PYTHONUTF8="1",
)
if str(workflow.basedir) not in sys.path:
    sys.path.insert(0, str(workflow.basedir))

from cdgm.claims.check_selectors import check_claims
from cdgm.claims.looks import announcement, checked, next_looks, with_looks
from cdgm.claims.scope import (
    claims_of,
    judged_studies,
    judging_of_study,
    judging_of_target,
)
from cdgm.config.study import parse_config
from cdgm.workflow.detection_jobs import detection_rows
from cdgm.workflow.code_digest import code_digest, plugin_modules, text_digest
from cdgm.utils.errors import UserError, bad_input
from cdgm.utils.files import canonical_json, read_json, require_writable, write_json
from cdgm.evaluation.table_files import read_table
from cdgm.config.layers import file_with, load_layers
from cdgm.workflow.cost_ahead import cost_ahead
from cdgm.workflow.plan import dump, expand, plan_rows
from cdgm.figures import ACROSS_STUDIES, FIGURES, WITH_COSTS, WITH_TRACES
from cdgm.workflow.job_specs import write_specs
from cdgm.workflow.run_progress import follow_run
from cdgm.workflow.timings import seconds_of_a_fit, write_timings


def stop(error):
    """End with one line, as for every mistake of the user."""
    print(f"error: {error}", file=sys.stderr)
    sys.exit(2)


#: The looks at more seeds that undecided claims took: written by the target `decide`, read by every run.
LOOKS_FILE = Path("results/looks.json")


def looks_taken():
    """Looks taken so far; where `decide` is asked for, with those that the last verdicts ask for."""
    taken = {}
    if LOOKS_FILE.exists():
        taken = checked(STATED, read_json(LOOKS_FILE), str(LOOKS_FILE))
    # Targets are not known yet while rules are read. A job's own process reads what the main process wrote.
    if not workflow.is_main_process or "decide" not in sys.argv:
        return taken
    files = sorted(Path("results").glob("claims*.csv"))
    after = next_looks(STATED, {str(file): read_table(file) for file in files}, taken)
    seconds = seconds_of_a_fit(Path("results/timings.csv"))
    print(announcement(STATED, taken, after, seconds), file=sys.stderr)
    return after


def write_looks():
    """Keep the looks that this run takes, before its first job."""
    if LOOKS:
        write_json(LOOKS_FILE, LOOKS)


SCRIPTS = Path(workflow.basedir) / "workflow_scripts"
CONFIG_FILES = [
    f"{workflow.basedir}/config.yaml",
    f"{workflow.basedir}/claims.yaml",
    *(str(f) for f in workflow.config_settings.configfiles or ()),
]

# Values of the command line are the topmost layer.
if workflow.config_settings.config:
    CONFIG_FILES.append(dict(workflow.config_settings.config))

try:
    for folder in ("results", ".snakemake"):
        require_writable(folder)
    # Merged here and not by Snakemake, so that a plug-in in an overlay replaces the one below it whole.
    config = load_layers(CONFIG_FILES)
    STATED = parse_config(config, CONFIG_FILES)
    check_claims(STATED, CONFIG_FILES)
    LOOKS = looks_taken()
    CONFIG = with_looks(STATED, LOOKS)
    PLAN = expand(CONFIG, CONFIG_FILES)
except UserError as error:
    stop(error)

if workflow.is_main_process and "beyond" in sys.argv:
    made = {file.parent.name for file in Path("results/fits").glob("*/model.npz")}
    print(cost_ahead(CONFIG, PLAN, "beyond", made), file=sys.stderr)


DISPLAY = follow_run(logger, workflow.output_settings, workflow.is_main_process)


wildcard_constraints:
    download=r"[a-z0-9_+-]+",
    dataset=r"[a-z0-9_+-]+",
    simulation=r"[a-z0-9_+-]+",
    fit=r"[a-z0-9_+-]+",
    ceiling=r"[a-z0-9_+-]+",
    evaluation=r"[a-z0-9_+-]+",
    study=r"[a-z0-9_+-]+",
    figure=r"[a-z0-9_]+",
    of=r"|_[a-z]+",
    page=r"claims(_[a-z]+)?|claims/[a-z0-9_+-]+",


def local_files(download):
    """Files of this machine that a download copies: none but for those of kind ``local``."""
    files = CONFIG.downloads[download].inputs()
    for file in files:
        if not os.path.isfile(file):
            path = ("downloads", download, "path")
            place = f"{file_with(path, CONFIG_FILES)}: {'.'.join(path)}"
            stop(bad_input(place, "", file, "an existing file"))
    return files


@cache
def digest(script, *modules):
    """Code digest of a command line and the plug-ins that it will load."""
    return code_digest(SCRIPTS / script, modules)


def code_of(script, spec):
    """Code digest of a command line for a spec."""
    return digest(script, *sorted(plugin_modules(spec)))


def as_json(value):
    """A spec as canonical JSON, without its defaults."""
    return canonical_json(dump(value) if hasattr(value, "model_dump") else value)


class Planned(dict):
    """Jobs of the plan by their ids; a file of another id was asked for."""

    def __missing__(self, key):
        stop(bad_input("results", "id", key, "an id of results/plan.csv"))


for group in ("simulations", "fits", "evaluations", "ceilings"):
    setattr(PLAN, group, Planned(getattr(PLAN, group)))


def dataset_spec(name):
    """A data set of the config."""
    if name not in CONFIG.datasets:
        expected = f"a data set: one of {sorted(CONFIG.datasets)}"
        stop(bad_input(f"results/data/{name}", "", name, expected))
    return CONFIG.datasets[name]


def scores_to_draw(study, figure):
    """Table of a study for one of its figures."""
    known = CONFIG.studies[study].figures if study in CONFIG.studies else ()
    if figure not in known:
        file = f"results/figures/{study}/{figure}"
        expected = (
            f"a figure of the study: one of {list(known)}"
            if known
            else f"a study: one of {sorted(CONFIG.studies)}"
        )
        stop(bad_input(file, "", figure if known else study, expected))
    return f"results/tables/{study}.csv"


def traces_of(study):
    """Scores by step of all fits of a study."""
    fits = (PLAN.evaluations[row.evaluation].fit for row in PLAN.studies[study])
    return [f"results/traces/{fit}.csv" for fit in dict.fromkeys(fits)]


def data_file(fit):
    """Data file that a fit reads."""
    folder = "simulations" if PLAN.fits[fit].simulated else "data"
    name = "data" if PLAN.fits[fit].simulated else "cells"
    return f"results/{folder}/{PLAN.fits[fit].spec.dataset}/{name}.npz"


def studies_of(target):
    """Names of the studies that belong to a workflow target, in the order of the config."""
    return [name for name, study in CONFIG.studies.items() if study.target == target]


def study_outputs(target):
    """Figures and tables of the studies that belong to a workflow target, verdicts and its first page."""
    names = studies_of(target)
    of = "" if target == "all" else f"_{target}"
    return [
        f"results/plan{of}.csv",
        f"results/index{of}.html",
        *([f"results/claims{of}.html"] if claims_of(CONFIG, target) else []),
        *(f"results/tables/{name}_summary.csv" for name in names),
        *([f"results/figures/detection{of}.png"] if in_detection(target) else []),
        *(
            f"results/figures/{name}/{figure}.png"
            for name in names
            for figure in CONFIG.studies[name].figures
        ),
    ]


def in_detection(target):
    """Whether faults are looked for over all studies of a target: there are several that are simulated."""
    return len({row["study"] for row in detection_rows(CONFIG, PLAN, target)}) > 1


def target_of(wildcards):
    """The workflow target that a page belongs to."""
    return wildcards.of.removeprefix("_") or "all"


def page_inputs(wildcards):
    """Tables of a target's studies, records of their fits and, if there are claims, their verdicts."""
    target = target_of(wildcards)
    studies = studies_of(target)
    fits = {
        PLAN.evaluations[row.evaluation].fit for s in studies for row in PLAN.studies[s]
    }
    inputs = {
        "tables": [f"results/tables/{study}.csv" for study in studies],
        "fits": [f"results/fits/{fit}/provenance.json" for fit in sorted(fits)],
    }
    if claims_of(CONFIG, target):
        inputs["claims"] = f"results/claims{wildcards.of}.csv"
    return inputs


def finish():
    """Say how the run ended, and let Snakemake exit."""
    DISPLAY.end()
    # Its scheduler leaves timers behind that would wake it once more, and its exit waits for all of them.
    for thread in threading.enumerate():
        if isinstance(thread, threading.Timer):
            thread.cancel()


def note_timings():
    """Write what jobs cost; no result, so nothing fails for want of room for it."""
    try:
        write_timings(
            Path("results/timings.csv"), CONFIG, PLAN, Path("results/benchmarks")
        )
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)


def write_specs_of_jobs():
    """Write the specifications of the jobs that this run will do."""
    try:
        write_specs(workflow.dag.needrun_jobs())
    except UserError as error:
        stop(error)
    except KeyboardInterrupt:
        stop("interrupted")
