"""From nothing to figures by one command, twice: everything is there, and both times the same."""

import json
import re
import shlex
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import matplotlib.image
import numpy as np
import pandas as pd
import pytest

from cdgm.claims.expected_scores import COLUMNS, scores_of
from cdgm.config.layers import load_layers
from cdgm.config.study import parse_config
from tests.conftest import Finished
from tests.snakemake_runs import TINY, Done, command, dry_run, results, snakemake

FIGURES = ("recovery", "twist", "two_models", "training")
JOBS = {
    "plan": 1, "fetch": 1, "simulate": 2, "fit": 3, "evaluate": 3, "ceiling": 1, "summarise": 1, "draw": 4,
    "judge": 1, "index": 1,
}  # fmt: skip


@pytest.fixture(scope="module")
def checkout(finished: Finished) -> Path:
    return finished.checkout


@pytest.fixture(scope="module")
def run(finished: Finished) -> Path:
    return finished.run


def test_the_output_is_one_line_a_job_with_the_time_left(finished: Finished):
    jobs, line = sum(JOBS.values()), r"\[ *(\d+)/(\d+), [\d:]+(?:, ~\d+ (?:s|min) left)?\] (\w+) .*\d s"
    after = re.split(r"^total +\d+$", finished.said, flags=re.MULTILINE)[1].splitlines()
    told = [found for found in (re.fullmatch(line, said) for said in after) if found]
    # The target itself counts as a job, and has no line.
    assert {found[2] for found in told} == {str(jobs + 1)}
    assert sorted({found[3].split("_")[0] for found in told}) == sorted({rule.split("_")[0] for rule in JOBS})
    assert len(told) == jobs
    others = [said for said in after if said and not re.fullmatch(line, said)]
    assert len(others) == 1
    assert re.fullmatch(rf"{jobs + 1} of {jobs + 1} jobs done in [\d:]+\.", others[0])


def test_a_logged_command_is_short_and_makes_the_same_bytes_by_hand(finished: Finished, tmp_path: Path):
    """A specification lies in a file, so a command can be pasted."""
    records = [json.loads(file.read_text()) for file in (finished.run / ".snakemake/metadata").iterdir()]
    commands = {record["rule"]: record["shellcmd"] for record in records if record.get("shellcmd")}
    assert {rule.split("_")[0] for rule in commands} == {rule.split("_")[0] for rule in JOBS}
    assert max(map(len, commands.values())) < 1_000
    assert not [text for text in commands.values() if "{" in text]
    words = shlex.split(commands["simulate"].partition(" 2> ")[0])
    made = words[words.index("--out") + 1]
    words[words.index("--out") + 1] = tmp_path / "data.npz"
    environment = {"PYTHONPATH": str(finished.checkout)}
    assert command(*words, cwd=finished.run, environment=environment).code == 0
    assert (tmp_path / "data.npz").read_bytes() == (finished.run / made).read_bytes()


def test_the_plan_names_what_there_is(run: Path):
    plan = pd.read_csv(run / "results/plan.csv", keep_default_na=False)
    tiny = plan[plan["study"] == "tiny"]
    assert len(tiny) == 3
    for row in tiny.itertuples():
        assert row.seeds == "100 101"
        assert (run / "results" / row.data / "data.npz").is_file()
        assert (run / "results/fits" / row.fit / "spec.json").is_file()
        assert (run / "results/evaluations" / row.evaluation / "metrics.csv").is_file()
    assert sum((run / "results/ceilings" / ceiling).is_dir() for ceiling in tiny["ceiling"] if ceiling) == 1


def test_every_file_is_there(run: Path):
    names = set(results(run))
    expected = {f"figures/tiny/{figure}.{end}" for figure in FIGURES for end in ("png", "pdf", "csv")}
    expected |= {f"tables/tiny{end}" for end in (".csv", "_summary.csv", "_maps.csv", "_history.parquet")}
    expected |= {"plan.csv", "index.html", "claims.html", "claims.csv", "timings.csv"}
    # What times say differs between runs, so `results` leaves it out.
    names |= {"timings.csv"} & {file.name for file in (run / "results").iterdir()}
    assert expected <= names
    counts = {folder: len(list((run / "results" / folder).iterdir())) for folder in ("simulations", "fits")}
    assert counts == {"simulations": 2, "fits": 3}
    for folder in ("simulations", "fits", "evaluations"):
        for job in (run / "results" / folder).iterdir():
            assert (job / "provenance.json").is_file()
    assert not [name for name in names if ".part" in name]


@pytest.mark.parametrize("figure", FIGURES)
def test_figures_open_and_show_something(run: Path, figure: str):
    pixels = matplotlib.image.imread(run / f"results/figures/tiny/{figure}.png")[..., :3]
    assert min(pixels.shape[:2]) > 200
    assert np.mean(pixels.min(axis=-1) < 0.9) > 0.005, "nearly blank"
    assert len(pd.read_csv(run / f"results/figures/tiny/{figure}.csv")) > 0


def test_the_table_has_just_the_scores_that_claims_may_name(checkout: Path, run: Path):
    files = [checkout / "config.yaml", checkout / "claims.yaml", checkout / TINY]
    config = parse_config(load_layers(files), files)
    expected = scores_of(config, config.studies["tiny"])
    table = pd.read_csv(run / "results/tables/tiny.csv", keep_default_na=False)
    found = set(table[list(COLUMNS)].itertuples(index=False, name=None))
    assert found <= {score[:-1] for score in expected}
    assert {score[:-1] for score in expected if score.certain} <= found


def test_claims_are_judged_and_shown(run: Path):
    claims = pd.read_csv(run / "results/claims.csv", keep_default_na=False)
    verdicts = claims.drop_duplicates("claim").set_index("claim")["claim_verdict"].to_dict()
    # Two seeds are too few for a verdict.
    # The project's own claims are on studies that this run leaves out.
    assert verdicts.pop("tiny_recovery") == "undecided"
    assert set(verdicts.values()) == {"not run"}
    assert "tiny_elsewhere" in verdicts
    page = (run / "results/index.html").read_text(encoding="utf-8")
    linked = set(re.findall(r'(?:href|src)="([^"#]+)', page))
    assert [name for name in sorted(linked) if not (run / "results" / name).is_file()] == []
    assert {"claims.html", "figures/tiny/twist.png", "tables/tiny.csv"} <= linked


def test_timings_count_every_job(run: Path):
    jobs = pd.read_csv(run / "results/timings.csv").set_index("rule")["jobs"].to_dict()
    assert jobs == JOBS


def test_a_second_run_has_nothing_to_do(checkout: Path, run: Path):
    done = dry_run(checkout, run)
    assert done.code == 0
    assert done.jobs == {}
    assert "Nothing to be done" in done.out + done.err


@pytest.fixture(scope="module")
def elsewhere(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Done, Done]:
    """A run in strange surroundings, and one that was started in the same folder meanwhile.

    Blanks, an accent and a quote in all paths, a locale that knows ASCII alone, another time zone.
    """
    folder = tmp_path_factory.mktemp("elsewhere") / "a blank, an ü and a 'quote'"
    place = folder / "the run"
    checkout = shutil.copytree(finished.checkout, folder / "the checkout")
    strange = {"LC_ALL": "C", "LANG": "C", "TZ": "Pacific/Kiritimati"}
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(snakemake, checkout, place, "--cores", 2, environment=strange)
        while not first.done() and not (place / "results/specs").exists():
            time.sleep(0.1)
        second = snakemake(checkout, place, "--cores", 1, environment=strange)
        return place, first.result(), second


def test_a_run_in_strange_surroundings_gives_the_same_bytes(run: Path, elsewhere: tuple[Path, Done, Done]):
    place, done, _ = elsewhere
    assert done.code == 0, done.out + done.err
    first, second = results(run), results(place)
    # The download is a target of the other run alone.
    first = {name: file for name, file in first.items() if "downloads" not in name and "fetch" not in name}
    assert set(first) == set(second)
    assert [name for name in first if first[name].read_bytes() != second[name].read_bytes()] == []


def test_a_second_run_in_the_same_folder_is_refused_meanwhile(elsewhere: tuple[Path, Done, Done]):
    _, first, second = elsewhere
    assert first.code == 0
    assert second.code == 1
    assert "Directory cannot be locked" in second.out + second.err
    assert "Traceback" not in second.out + second.err
