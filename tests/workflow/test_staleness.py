"""What an edit rebuilds: all that it can change and nothing else.

For each edit a dry run on copies of a checkout and its finished results in another place, with times of files
that say nothing. docs/robustness.md states the same for people, as a test checks.
tests/unit/test_staleness_modules.py has every module of the package, without Snakemake.
"""

import itertools
import json
import os
import re
import shutil
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import pytest

from cdgm.config.fit import FitSpec
from cdgm.config.simulation import Simulation
from cdgm.data.downloads import DOWNLOADS
from cdgm.figures import FIGURES as REGISTERED
from cdgm.utils.files import read_json
from cdgm.workflow.code_digest import WITHOUT_EFFECT, code_files, plugin_modules
from tests.conftest import RAW, Finished
from tests.snakemake_runs import ROOT, TINY, command, scheduled
from tests.unit.staleness import computed

FIGURES = dict.fromkeys(["draw_recovery", "draw_training", "draw_twist", "draw_two_models"], 1)
INDEX = {"index": 1}
JUDGE = {"judge": 1} | INDEX
PLAN = {"plan": 1}
TABLES = {"summarise": 1} | FIGURES | JUDGE
SCORES = {"evaluate": 3} | TABLES
FITS = {"fit": 3} | SCORES
# The tiny study has a ceiling for one of its simulations.
CEILING = {"ceiling": 1}
ALL = {"simulate": 2} | CEILING | FITS
# One of the three settings: the two others share another simulation.
ONE_SETTING = {"simulate": 1, "fit": 1, "evaluate": 1} | TABLES
NOTHING: dict[str, int] = {}

Change = Callable[[str], str]


@dataclass(frozen=True)
class Edit:
    """A file, what is done to its text, the jobs that this makes stale, and what more there is to say."""

    file: str
    change: Change
    stale: dict[str, int]
    note: str = ""


def constant(text: str) -> str:
    """Any change of code will do: what is asked is who depends on it."""
    return text + "\n_A_CONSTANT = 1\n"


def comment(text: str) -> str:
    return "# A note.\n" + text + "\n# And another.\n"


def docstring(text: str) -> str:
    assert text.startswith('"""')
    return text.replace('"""', '"""Said otherwise. ', 1)


def replaced(old: str, new: str) -> Change:
    def change(text: str) -> str:
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times"
        return text.replace(old, new)

    return change


def seeds(text: str) -> str:
    return replaced("count: 2, per_job: 2", "count: 4, per_job: 2")(text)


EDITS = {
    # What says something and does nothing.
    "a comment": Edit("cdgm/models/comparative_vae.py", comment, NOTHING),
    "a docstring": Edit("cdgm/training/loop.py", docstring, NOTHING),
    "a caption": Edit("report/recovery.rst", comment, INDEX),
    "a caption of another target": Edit("report/cells.rst", comment, NOTHING),
    "a constant in how errors are told": Edit("cdgm/utils/errors.py", constant, NOTHING),
    "a constant in what is recorded of a run": Edit("cdgm/utils/provenance.py", constant, NOTHING),
    "a constant in how the configuration is expanded": Edit("cdgm/workflow/plan.py", constant, NOTHING),
    "a comment in the profile": Edit("profiles/default/config.yaml", comment, NOTHING),
    # Libraries are recorded beside each result; see the test of provenance below.
    "a version of a library in the lock": Edit(
        "requirements.lock",
        replaced(f"numpy=={version('numpy')}", "numpy==2.0.0"),
        NOTHING,
        "recorded beside each result; see below how to ask",
    ),
    "a version in envs/cdgm.yaml": Edit(
        "envs/cdgm.yaml", replaced("numpy==", "numpy<"), NOTHING, "without `--sdm conda`"
    ),
    # A constant in a module of each kind.
    "a constant in the simulation": Edit("cdgm/simulation/simulate.py", constant, ALL),
    "a constant in a mixing": Edit("cdgm/simulation/mixings/linear.py", constant, CEILING | ONE_SETTING),
    "a constant in a mixing that is not used": Edit(
        "cdgm/simulation/mixings/near_linear.py", constant, NOTHING
    ),
    "a constant in the model's core": Edit("cdgm/models/comparative_vae.py", constant, FITS),
    "a constant in the training": Edit("cdgm/training/loop.py", constant, FITS),
    "a constant in a likelihood": Edit("cdgm/models/likelihoods/gaussian.py", constant, FITS),
    "a constant in a likelihood that is not used": Edit(
        "cdgm/models/likelihoods/negative_binomial.py", constant, NOTHING
    ),
    "a constant in a combiner": Edit("cdgm/objectives/combiners/sum.py", constant, FITS),
    "a constant in a metric": Edit("cdgm/evaluation/metrics/recovery.py", constant, CEILING | SCORES),
    "a constant in the making of tables": Edit("cdgm/evaluation/study_tables.py", constant, TABLES),
    "a constant in a figure": Edit("cdgm/figures/twist.py", constant, {"draw_twist": 1}),
    "a constant in the theme of figures": Edit("cdgm/plotting/theme.py", constant, FIGURES),
    "a constant in the preparing of cells (there are none)": Edit(
        "cdgm/data/preprocess.py", constant, NOTHING
    ),
    "a constant in a download": Edit("cdgm/data/downloads/local.py", constant, {"fetch": 1}),
    "a constant in how claims are judged": Edit("cdgm/claims/condition_verdicts.py", constant, JUDGE),
    "a constant in the page of claims": Edit("cdgm/reports/intervals.py", constant, JUDGE),
    "a constant in the first page": Edit("cdgm/reports/index.py", constant, INDEX),
    "a word in the template of the first page": Edit(
        "cdgm/reports/templates/index.html.j2", replaced("Figures by question</h2>", "Figures</h2>"), INDEX
    ),
    "a colour of all pages": Edit("cdgm/reports/templates/style.css", replaced("#0064a3", "#0065a3"), JUDGE),
    "a word in the template of one's own fits": Edit(
        "cdgm/reports/templates/fit.html.j2", replaced("What to believe</h2>", "Beliefs</h2>"), NOTHING
    ),
    "a constant in what is checked of claims": Edit("cdgm/claims/check_selectors.py", constant, NOTHING),
    # Command lines and rules.
    "a constant in a command line": Edit("workflow_scripts/summarise.py", constant, TABLES),
    "a comment in a command line": Edit("workflow_scripts/fit.py", comment, NOTHING),
    "the text of a rule": Edit(
        "rules/fit.smk", replaced("--threads {threads}", "--threads  {threads}"), FITS
    ),
    "a comment in a rule": Edit("rules/fit.smk", comment, NOTHING),
    "the memory of a rule": Edit("rules/fit.smk", replaced("int(1500 +", "int(1600 +"), NOTHING),
    # The configuration.
    "a value of one setting": Edit(
        TINY,
        replaced("{mixing: {kind: linear}}", "{mixing: {kind: linear}, noise: {kind: gaussian, sd: 0.2}}"),
        PLAN | CEILING | ONE_SETTING,
    ),
    "a value of another study": Edit(
        "config.yaml",
        replaced("link: softmax, dispersion: learned}", "link: softmax, dispersion: 2}"),
        NOTHING,
    ),
    "the words of a claim": Edit(TINY, replaced("hold nothing of", "hold little of"), JUDGE),
    "the value of a claim": Edit(TINY, replaced("at_least: 0.5", "at_least: 0.6"), JUDGE),
    "why a claim is not run": Edit(
        TINY, replaced("identifiability: {target: none}", "identifiability: {target: atlas}"), JUDGE
    ),
    "a claim that is taken away": Edit(
        TINY,
        lambda text: (
            replaced("  tiny_elsewhere:\n", "  tiny_elsewhere: null\n  x:\n")(text).split("  x:\n")[0]
            + text[text.index("downloads:") :]
        ),
        JUDGE,
    ),
    "a value of how scores are made": Edit(
        TINY, replaced("null_draws: 10", "null_draws: 12"), PLAN | CEILING | SCORES
    ),
    "an added variant": Edit(
        TINY,
        lambda text: (
            replaced("[cvae]", "[cvae, again]")(text)
            + "variants: {again: {combiner: {kind: size_weighted}}}\n"
        ),
        PLAN | FITS,
        "its own fits only",
    ),
    "an added block of seeds": Edit(TINY, seeds, PLAN | ALL, "those of the new seeds only"),
    "the checksum of a data file": Edit(
        TINY,
        lambda text: re.sub(r"sha256: '?\w{64}'?", "sha256: '" + "0" * 64 + "'", text),
        {"fetch": 1},
    ),
}
# What is no edit of one file, and has a test of its own below.
OTHERS = {
    "all files touched, and dated to the past and the future": (NOTHING, ""),
    "checkout and results moved": (NOTHING, ""),
    "a commit": (NOTHING, ""),
    "a new penalty and a new mixing, each with its line": (NOTHING, ""),
    "a setting that uses the new mixing": (PLAN | ONE_SETTING, "its own jobs only"),
    "another content of a local data file": ({"fetch": 1}, ""),
    "asked for: `--forcerun simulate preprocess`": (ALL, "all but downloads"),
    "asked for: `--forcerun fit`": (FITS, ""),
}


def words(stale: dict[str, int]) -> str:
    """Stale jobs as the documentation has them."""
    whole = PLAN | ALL | {"fetch": 1}
    found = [
        f"`{rule}`" + (f" ({count} of {whole[rule]})" if count < whole[rule] else "")
        for rule, count in stale.items()
        if rule not in FIGURES
    ]
    figures = [figure for figure in FIGURES if figure in stale]
    shown = ["`draw`"] if len(figures) == len(FIGURES) else [f"`{figure}`" for figure in figures]
    return ", ".join([*found, *shown]) or "nothing"


def table() -> str:
    """The contract as docs/robustness.md has it."""
    rows = {name: (edit.stale, edit.note) for name, edit in EDITS.items()} | OTHERS
    lines = [f"| {name} | {words(stale)}{'; ' * bool(note)}{note} |" for name, (stale, note) in rows.items()]
    return "\n".join(["| change | stale |", "|---|---|", *lines])


def test_the_documentation_states_the_same_contract():
    page = (ROOT / "docs/robustness.md").read_text(encoding="utf-8")
    assert table() in page, f"docs/robustness.md should hold\n{table()}"


def stale(checkout: Path, run: Path, *arguments: object) -> dict[str, int]:
    return scheduled(checkout, run, "all", RAW, *arguments)


def moved(finished: Finished, folder: Path) -> tuple[Path, Path]:
    """The checkout and the results in another place, all files with the time of the copy."""
    for source in (finished.checkout, finished.run):
        shutil.copytree(source, folder / source.name, copy_function=shutil.copyfile)
    return folder / finished.checkout.name, folder / finished.run.name


def after(edits: list[Edit], finished: Finished, folder: Path) -> dict[str, int]:
    checkout, run = moved(finished, folder)
    for edit in edits:
        file = checkout / edit.file
        before = file.read_text(encoding="utf-8")
        text = edit.change(before)
        assert text != before
        file.write_text(text, encoding="utf-8")
    found = stale(checkout, run)
    shutil.rmtree(folder)
    return found


WITHOUT_EFFECT_TOGETHER = [name for name, edit in EDITS.items() if edit.stale == NOTHING]


@pytest.fixture(scope="module")
def outcomes(
    finished: Finished, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Future[dict[str, int]]]:
    """The jobs that each edit makes stale; the dry runs go side by side."""
    folder = tmp_path_factory.mktemp("edits")
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return {
            name: pool.submit(after, [edit], finished, folder / name.replace(" ", "_"))
            for name, edit in EDITS.items()
            if name not in WITHOUT_EFFECT_TOGETHER
        }


@pytest.mark.parametrize("name", [name for name in EDITS if name not in WITHOUT_EFFECT_TOGETHER])
def test_an_edit_makes_stale_what_it_can_change(name: str, outcomes: dict[str, Future[dict[str, int]]]):
    assert outcomes[name].result() == EDITS[name].stale


def test_edits_without_effect_make_nothing_stale(finished: Finished, tmp_path: Path):
    """All of them in one dry run; where that finds something, each alone, to name it."""
    if after([EDITS[name] for name in WITHOUT_EFFECT_TOGETHER], finished, tmp_path / "all") != NOTHING:
        alone = {name: after([EDITS[name]], finished, tmp_path / "one") for name in WITHOUT_EFFECT_TOGETHER}
        assert alone == dict.fromkeys(WITHOUT_EFFECT_TOGETHER, NOTHING)
        raise AssertionError("only together they make jobs stale")


def test_a_checkout_and_results_in_another_place_are_not_stale(finished, tmp_path):
    assert stale(*moved(finished, tmp_path)) == OTHERS["checkout and results moved"][0]


def test_touching_every_file_makes_nothing_stale(finished, tmp_path):
    checkout, run = moved(finished, tmp_path)
    # Now, in 1971 and in 2096: a clock may have been wrong at any time. Sorted, so that some inputs become
    # newer than what was made from them.
    dates = itertools.cycle([time.time(), 4e7, 4e9])
    for folder in (checkout, run / "results"):
        for file in sorted(folder.rglob("*"), reverse=True):
            if file.is_file():
                os.utime(file, (date := next(dates), date))
    assert stale(checkout, run) == OTHERS["all files touched, and dated to the past and the future"][0]


def add_plug_in(folder: Path, kind: str, name: str) -> None:
    """A copy of a plug-in under the kind ``another``, with its line in the table."""
    text = (folder / f"{kind}.py").read_text(encoding="utf-8")
    assert f'"{kind}"' in text
    (folder / "another.py").write_text(text.replace(f'"{kind}"', '"another"'), encoding="utf-8")
    table, place = folder / "__init__.py", ".".join(folder.parts[-3:])
    head, rest = table.read_text(encoding="utf-8").split(f'        "{kind}"')
    line = f'        "another": "{place}.another:{name}",\n'
    table.write_text(f'{head}{line}        "{kind}"{rest}', encoding="utf-8")


def test_new_plug_ins_with_their_lines_make_nothing_stale(finished, tmp_path):
    checkout, run = moved(finished, tmp_path)
    add_plug_in(checkout / "cdgm/simulation/mixings", "linear", "Linear")
    add_plug_in(checkout / "cdgm/objectives/penalties", "hsic", "HSIC")
    assert stale(checkout, run) == OTHERS["a new penalty and a new mixing, each with its line"][0]
    # They are there: a setting with one is one more of everything, and the others stay.
    config = checkout / TINY
    text = config.read_text(encoding="utf-8")
    setting = "      another:\n        simulation: {mixing: {kind: another}}\n      linear:\n"
    config.write_text(replaced("      linear:\n", setting)(text), encoding="utf-8")
    assert stale(checkout, run) == OTHERS["a setting that uses the new mixing"][0]


@pytest.mark.parametrize("named", [name for name in OTHERS if name.startswith("asked for")])
def test_results_are_made_anew_with_other_libraries_when_asked(named, finished, tmp_path):
    asked = re.search(r"`(.*)`", named)[1]
    assert f"\nsnakemake --cores 2 {asked}  " in (ROOT / "docs/robustness.md").read_text(encoding="utf-8")
    assert stale(*moved(finished, tmp_path), *asked.split()) == OTHERS[named][0]


def test_versions_of_libraries_are_recorded_beside_each_result(finished):
    records = list((finished.run / "results").rglob("provenance.json"))
    # Two simulations, three fits with their scores, and a download.
    assert len(records) == 2 + 3 + 3 + 1
    for file in records:
        recorded = json.loads(file.read_text(encoding="utf-8"))["versions"]
        assert {name: version(name) for name in ("torch", "numpy", "pandas")}.items() <= recorded.items()


def test_edited_data_of_this_machine_are_copied_again(finished, tmp_path):
    checkout, run = moved(finished, tmp_path)
    data = finished.data
    before = data.read_bytes()
    try:
        data.write_bytes(b"other cells")
        assert stale(checkout, run) == OTHERS["another content of a local data file"][0]
    finally:
        data.write_bytes(before)


def test_git_history_makes_nothing_stale(finished, tmp_path):
    checkout, run = moved(finished, tmp_path)
    user = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main")
    for step in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "a commit"]):
        done = command("git", *user, *step, cwd=checkout)
        assert done.code == 0, done.err
    assert stale(checkout, run) == OTHERS["a commit"][0]


def covered_files(entry: Path, options: dict[str, str], run: Path) -> set[Path]:
    """Files whose edit makes a job stale: those of its own digest, and of the fits that it reads."""
    fits: list[Path] = []
    match entry.stem:
        case "simulate":
            own = plugin_modules(Simulation.model_validate(read_json(run / options["--spec"])))
        case "ceiling":
            simulation = read_json(run / options["--spec"])["simulation"]
            own = plugin_modules(Simulation.model_validate(simulation))
        case "fit":
            own = plugin_modules(fit_spec(run / options["--spec"]))
        case "evaluate":
            fits = [run / options["--fit-spec"]]
            own = plugin_modules(fit_spec(fits[0]).model)
        case "summarise":
            fits, own = sorted(run.glob("results/fits/*/spec.json")), set()
        case "fetch":
            own = plugin_modules(DOWNLOADS.parse(read_json(run / options["--spec"])))
        case "draw":
            own = {REGISTERED[options["--figure"]].partition(":")[0]}
        case _:
            own = set()
    files = set(code_files(entry, own))
    return files.union(*(code_files(entry.with_name("fit.py"), plugin_modules(fit_spec(f))) for f in fits))


def fit_spec(file: Path) -> FitSpec:
    return FitSpec.model_validate(read_json(file))


def test_what_a_job_loads_is_what_its_digest_covers(finished):
    """No module that a job ran with can be edited without its being told."""
    checkout, run = finished.checkout, finished.run
    files = list(finished.loaded.iterdir())
    assert len(files) == sum((PLAN | ALL | {"fetch": 1}).values())
    tables = {name for name, found in computed().items() if found == "nothing"}
    for file in files:
        noted = json.loads(file.read_text(encoding="utf-8"))
        (entry, *words), loaded = noted["arguments"], set(noted["modules"])
        options = {word: words[i + 1] for i, word in enumerate(words[:-1]) if word.startswith("--")}
        covered = {
            path.relative_to(checkout).with_suffix("").as_posix().removesuffix("/__init__").replace("/", ".")
            for path in covered_files(Path(entry), options, run)
        }
        registries = {name for name in loaded if f"{name.replace('.', '/')}/__init__.py" in tables}
        assert loaded - covered - registries - WITHOUT_EFFECT == set(), entry
