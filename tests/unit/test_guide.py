"""The guide's code runs, its commands exist, its links resolve, and its tables match the project."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from snakemake.cli import get_argument_parser

import cdgm
from cdgm.cli.main import COMMANDS, main, parser
from cdgm.config.study import parse_config
from cdgm.figures import ACROSS_STUDIES, FIGURES
from tests.guide import (
    DOCS,
    PAGES,
    ROOT,
    TEXTS,
    anchors,
    blocks,
    commands,
    fences,
    inline_commands,
    name_of,
)
from tests.unit import small_cells

CONFIG = parse_config(yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8")))
#: Pages whose Python is run by another module of these tests.
RUN_ELSEWHERE = {
    "docs/own_data.md": "test_api_docs.py",
    "docs/extending.md": "test_extending.py",
    "docs/tutorials/glioblastoma.md": "test_tutorials.py",
    "docs/tutorials/kang2018.md": "test_tutorials.py",
}
RUN_HERE = {"docs/api.md", "docs/first_run.md", "docs/results.md", "docs/variants.md"}


def test_every_block_says_what_it_is():
    known = {"sh", "python", "yaml", "rst", "text", "math", "{toctree}", "{eval-rst}"}
    found = {(name_of(page), language) for page in TEXTS for language, _ in fences(page)}
    assert sorted(pair for pair in found if pair[1] not in known) == []


def test_every_python_block_is_run():
    with_python = {name_of(page) for page in PAGES if blocks(page, "python")}
    assert with_python == RUN_HERE | set(RUN_ELSEWHERE)
    for page, module in RUN_ELSEWHERE.items():
        assert Path(page).name in (ROOT / "tests" / "unit" / module).read_text(encoding="utf-8")


def run_python(page: str, names: dict) -> dict:
    """Run a page's blocks from top to bottom; the names that they leave behind."""
    for text in blocks(DOCS / page, "python"):
        exec(compile(text, page, "exec"), names)
    return names


@pytest.fixture
def briefly(monkeypatch):
    """Training of few steps."""
    small_cells.train_briefly(monkeypatch)


@pytest.mark.slow
def test_the_first_run(tmp_path, monkeypatch, briefly, capsys):
    """Its commands in their order, on other cells and with few steps."""
    monkeypatch.chdir(tmp_path)
    kinds = np.resize(["B", "T"], small_cells.CELLS)
    adata = small_cells.cells(cell_type=kinds)
    adata.obs = adata.obs.rename(columns={"state": "label"})
    adata.obs["source"] = np.where(adata.obs["condition"] == "ctrl", "background", "target")
    given = []

    def get(name, out):
        given.append((name, out.name))
        adata.write_h5ad(out)

    monkeypatch.setattr("cdgm.cli.datasets.get", get)
    page = DOCS / "first_run.md"
    for program, *arguments in commands(page):
        if program == "cdgm":
            main([*arguments, "--map", "pca"] if arguments[0] in ("fit", "plot") else arguments)
    names = run_python("first_run.md", {})
    assert given == [("immune_spikein", "immune.h5ad")]
    for file in ("fit/report.html", "fit/latents.csv", "fit_cvae/report.html", "figures/maps.png"):
        assert (tmp_path / file).is_file()
    assert names["cells"].obsm["X_cdgm_salient"].shape == (small_cells.CELLS, 10)
    assert "cell_type in the salient block" in capsys.readouterr().out


@pytest.mark.slow
def test_the_reference_runs_without_the_workflow(capsys):
    run_python("api.md", {})
    scores = [float(value) for value in re.findall(r"0\.\d+", capsys.readouterr().out)]
    assert len(scores) == 4
    assert min(scores) > 0.6


def test_variants_are_made_as_the_page_says(briefly, capsys):
    rng = np.random.default_rng(0)
    arrays = {"healthy": rng.standard_normal((200, 12)), "ill": rng.standard_normal((200, 12))}
    names = run_python("variants.md", {"arrays": arrays})
    assert names["weighted"].variant.penalties[0].weight == 300
    assert "kl_salient" in capsys.readouterr().out


def test_latents_are_read_as_the_page_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "results" / "evaluations" / "<id>"
    folder.mkdir(parents=True)
    np.savez(folder / "latents.npz", **{"mean/test/target/salient": np.zeros((2, 5, 3))})
    assert run_python("results.md", {})["salient"].shape == (5, 3)


# ---------------------------------------------------------------- commands


def check_make(arguments: list[str]) -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    for word in arguments:
        variable, equals, _ = word.partition("=")
        pattern = rf"^{variable} \?=" if equals else rf"^{word}:"
        assert re.search(pattern, text, re.MULTILINE), f"the Makefile has no {word}"


def check_cdgm(arguments: list[str]) -> None:
    if len(arguments) == 1 or "--help" in arguments:
        # Named, not called.
        assert arguments[0] in (*COMMANDS, "--version")
    else:
        parser().parse_args(arguments)


def check_snakemake(arguments: list[str]) -> None:
    parsed = get_argument_parser().parse_args(arguments)
    if parsed.workflow_profile:
        assert (ROOT / parsed.workflow_profile / "config.yaml").is_file()
    figures = {f"results/figures/{s}/{f}.png" for s, study in CONFIG.studies.items() for f in study.figures}
    # Studies that pages add by an overlay.
    figures |= {f"results/figures/mine/{f}.png" for f in ("cells", "training")}
    figures.add("results/figures/longer/steps.png")
    pages = {f"results/claims/{study}.html" for study in (*CONFIG.studies, "longer")}
    known = {
        "all",
        "perturbseq",
        "scaling",
        "atlas",
        "beyond",
        "decide",
        "results/claims.html",
        *figures,
        *pages,
    }
    assert set(parsed.targets) <= known


def check_docker(arguments: list[str]) -> None:
    if arguments[0] == "build":
        assert (ROOT / arguments[arguments.index("-f") + 1]).is_file()
    elif "snakemake" in arguments:
        check_snakemake(arguments[arguments.index("snakemake") + 1 :])


def check_export(arguments: list[str]) -> None:
    (setting,) = arguments
    code = "".join(file.read_text(encoding="utf-8") for file in (ROOT / "cdgm").rglob("*.py"))
    assert f'"{setting.partition("=")[0]}"' in code


def begins(words: str) -> Callable[[list[str]], None]:
    """A check of commands that nothing in the repository defines."""

    def check(arguments: list[str]) -> None:
        assert " ".join(arguments).startswith(words)

    return check


#: Every program that a page may name in a block, and how its command is checked.
CHECKS: dict[str, Callable[[list[str]], None]] = {
    "make": check_make,
    "cdgm": check_cdgm,
    "snakemake": check_snakemake,
    "docker": check_docker,
    "export": check_export,
    "pip": begins("install ."),
    ".": begins(""),
    "python3.11": begins("-m venv "),
    "git": begins("clone "),
    "cd": begins("cdgm"),
    ".venv/bin/pre-commit": begins("install"),
}


@pytest.mark.parametrize("page", TEXTS, ids=name_of)
def test_commands_exist(page: Path):
    for program, *arguments in [*commands(page), *inline_commands(page)]:
        assert program in CHECKS, f"nobody knows how to check {program}"
        try:
            CHECKS[program](arguments)
        except SystemExit as error:
            raise AssertionError(f"{program} refuses {arguments}") from error


# ---------------------------------------------------------------- links and pictures


@pytest.mark.parametrize("page", TEXTS, ids=name_of)
def test_links_lead_somewhere(page: Path):
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith("http"):
            continue
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target


def test_the_readme_leads_to_every_page():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    missing = [name_of(page) for page in DOCS.glob("*.md") if f"({name_of(page)}" not in text]
    assert missing == []
    assert "`make docs`" in text


# ---------------------------------------------------------------- choosing a variant


def rows_of_variants(until: str = "## How to choose one") -> list[list[str]]:
    """Cells of the tables of docs/variants.md, without their heads."""
    text = (DOCS / "variants.md").read_text(encoding="utf-8").split(until)[0]
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    rows = [row for row in rows if "`" in row[1]]
    assert rows
    return rows


def named(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def test_every_variant_is_in_the_tables_once():
    found = [name for row in rows_of_variants() for name in named(row[1])]
    assert sorted(found) == sorted(CONFIG.variants)


def test_studies_of_the_tables_have_their_variants():
    """A study shows a variant if it fits it, or a sweep that has it as one of its points; or none does."""
    points = {name: {v.model_dump_json() for _, v in spec.points()} for name, spec in CONFIG.variants.items()}
    for _, variants, _, shown in rows_of_variants():
        pairs = re.findall(r"`(\w+)` \(`(\w+)`\)", shown)
        listed = {name for study in CONFIG.studies.values() for name in study.variants}
        assert pairs or (shown == "no study yet" and not listed & set(named(variants)))
        for study, figure in pairs:
            assert figure in CONFIG.studies[study].figures
            fitted = set().union(*(points[name] for name in CONFIG.studies[study].variants))
            assert any(points[name] <= fitted for name in named(variants)), (variants, study)


def test_tables_of_variants_say_what_only_the_workflow_fits():
    for_data = {name for row in rows_of_variants(until="## For studies") for name in named(row[1])}
    assert for_data
    assert for_data <= set(cdgm.ComparativeModel.variants())


def test_measured_numbers_stand_in_the_findings_alone():
    assert [found for *_, found, _ in rows_of_variants() if re.search(r"\d*\.\d", found)] == []


# ---------------------------------------------------------------- figures, terms, places


def test_every_figure_is_found_by_its_question():
    text = (DOCS / "results.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (.*\?) \| `(\w+)` \| (.*) \|$", text, re.MULTILINE)
    assert {figure for _, figure, _ in rows} == {*FIGURES, *ACROSS_STUDIES}
    for question, figure, studies in rows:
        caption = (ROOT / "report" / f"{figure}.rst").read_text(encoding="utf-8")
        assert caption.startswith(f"**{question}**"), figure
        drawn = {name for name, study in CONFIG.studies.items() if figure in study.figures}
        assert set(named(studies)) == drawn, figure
        assert re.search(rf"^\| `{figure}` \| .* \| .* \|$", text, re.MULTILINE), f"{figure} is not explained"


def test_places_of_the_layout_exist():
    """Each package has a row, and files that the row names lie in the package."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)/` \| .* \| (.*) \|$", text, re.MULTILINE)
    packages = {file.parent.name for file in (ROOT / "cdgm").glob("*/__init__.py")}
    assert {package for package, _ in rows} == packages
    for package, places in rows:
        for place in re.findall(r"`([\w/]+(?:\.py|/))`", places):
            assert (ROOT / "cdgm" / package / place).exists(), f"{package}/{place}"


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CONTRIBUTING.md"], ids=name_of)
def test_code_fits_a_page(page: Path):
    long = [line for _, text in fences(page) for line in text.splitlines() if len(line) > 90]
    assert long == [], "hosts and the site cut such lines off"
