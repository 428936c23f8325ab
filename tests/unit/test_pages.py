"""Verdicts and the first page through their command lines: what contradicts a claim turns its verdict."""

from __future__ import annotations

import re
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cdgm.reports.captions import caption_html
from cdgm.utils.files import write_json
from tests.unit.test_command_lines import refused, run

ROOT = Path(__file__).parents[2]
CAPTIONS = sorted(p for p in (ROOT / "report").glob("*.rst") if p.stem != "workflow")


def scores(effect: float, seeds=range(100, 110), failed=()) -> pd.DataFrame:
    """A table of two variants whose scores differ by an effect, with a few other rows."""
    rng = np.random.default_rng(0)
    rows = []
    for seed in seeds:
        base = rng.normal(0.5, 0.1)
        for variant, value in (("plain", base), ("better", base + effect + rng.normal(0, 0.01))):
            for metric, shift in (("recovery_cc", 0.0), ("elbo", -100.0)):
                rows.append(
                    {"study": "s", "setting": "a", "variant": variant, "dataset": "d", "fit": f"d-{variant}",
                     "point": "", "seed": seed, "member": seed - 100,
                     "finite": (variant, seed) not in failed, "source": "target", "block": "salient",
                     "truth": "salient", "twist": 0.0, "metric": metric, "value": value + shift,
                     "null_mean": np.nan, "null_high": np.nan}
                )  # fmt: skip
    rows.append(rows[0] | {"variant": "ceiling", "fit": "", "seed": 100})
    return pd.DataFrame(rows)


def written(folder: Path, table: pd.DataFrame, **changes) -> tuple[object, ...]:
    """Arguments that judge one claim on a table."""
    of = {"variant": "better", "metric": "recovery_cc"}
    claim = {"statement": "The better one is better", "source": "paper", "study": "s", "figure": "twist"}
    condition = {"name": "gain", "of": of, "minus": of | {"variant": "plain"}}
    claim["conditions"] = [condition | {"at_least": 0.1}]
    other = claim | {"statement": "Elsewhere"}
    job = {
        "claims": [["gain", claim], ["away", other]],
        "not_run": {"away": "Study z is left out."},
    } | changes
    write_json(folder / "claims.json", job)
    (folder / "tables").mkdir(exist_ok=True)
    table.to_csv(folder / "tables/s.csv", index=False)
    out = folder / "results"
    return (
        "judge", "--claims", folder / "claims.json", "--tables", folder / "tables/s.csv",
        "--out", out / "claims.csv", "--page", out / "claims.html",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("effect", "verdict"), [(0.2, "reproduced"), (0.1, "inconclusive"), (0.0, "not reproduced")]
)
def test_a_doctored_table_turns_the_verdict(effect, verdict, tmp_path):
    done = run(*written(tmp_path, scores(effect)))
    assert done.returncode == 0, done.stderr
    assert f"gain: {verdict}" in done.stderr
    table = pd.read_csv(tmp_path / "results/claims.csv", keep_default_na=False)
    assert table["claim"].tolist() == ["gain", "away"]
    assert table["claim_verdict"].tolist() == [verdict, "not run"]
    assert f"{verdict}</span>" in (tmp_path / "results/claims.html").read_text(encoding="utf-8")


def test_the_claims_of_one_study_have_a_page_of_their_own(tmp_path):
    out = tmp_path / "results/claims"
    *command, _, _, _, _ = written(tmp_path, scores(0.2))
    done = run(*command, "--study=s", "--of=_x", "--out", out / "s.csv", "--page", out / "s.html")
    assert done.returncode == 0, done.stderr
    page = (out / "s.html").read_text(encoding="utf-8")
    assert {'href="../index_x.html"', 'href="s.csv"', 'src="../figures/s/twist.png"'} <= set(
        re.findall(r'(?:href|src)="[^"]*"', page)
    )
    assert "gain" in page


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ({"claims": 3}, ["claims.json", "claims: got 3", "pairs"]),
        ({"claims": [["gain", {"statement": "x"}]]}, ["claims.json", "claims.gain.source: missing"]),
        ({"more": 1}, ["claims.json", "'claims' and 'not_run'"]),
        ({"not_run": {}}, []),
    ],
)
def test_files_that_are_no_claims_are_refused(change, parts, tmp_path):
    done = run(*written(tmp_path, scores(0.2), **change))
    if parts:
        refused(done, tmp_path / "results", *parts)
    else:
        assert done.returncode == 0, done.stderr


def test_a_damaged_table_is_refused(tmp_path):
    arguments = written(tmp_path, scores(0.2).drop(columns="finite"))
    refused(run(*arguments), tmp_path / "results", "study 's'", "'finite'")
    (tmp_path / "tables/s.csv").unlink()
    refused(run(*arguments), tmp_path / "results", "tables/s.csv: no such file")


def index(folder: Path, table: pd.DataFrame, *more: object):
    """The first page of results with one study, as a command."""
    results = folder / "results"
    (results / "tables").mkdir(parents=True, exist_ok=True)
    table.to_csv(results / "tables/s.csv", index=False)
    for variant, commit in (("plain", "c0ffee"), ("better", "decade")):
        record = {"commit": commit, "python": "3.11.9", "system": "Linux", "machine": "x86_64"}
        record |= {"versions": {"numpy": "2.0.1"}, "wall_seconds": 12.345, "started": "2026-01-02"}
        write_json(results / f"fits/d-{variant}/provenance.json", record)
    write_json(folder / "index.json", [{"study": "s", "figures": ["twist", "training"]}])
    return run(
        "index", "--spec", folder / "index.json", "--root-seed", 77,
        "--results", results, "--out", results / "index.html", *more,
    )  # fmt: skip


class Parsed(HTMLParser):
    """Links, images, ids and text of a page; complains of elements that are not closed in order."""

    def __init__(self, text: str):
        super().__init__()
        self.open, self.links, self.images, self.ids, self.words = [], [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        if tag not in ("img", "meta"):
            self.open.append(tag)
        self.links += [given["href"]] if "href" in given else []
        self.images += [given["src"]] if "src" in given else []
        self.ids += [given["id"]] if "id" in given else []

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())


def test_the_first_page_holds_verdicts_figures_tables_and_provenance(tmp_path):
    run(*written(tmp_path, scores(0.2)))
    failed = {("plain", 103), ("better", 107)}
    done = index(tmp_path, scores(0.2, failed=failed), "--claims", tmp_path / "results/claims.csv")
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "results/index.html").read_text(encoding="utf-8")
    page = Parsed(text)
    assert page.images == ["figures/s/twist.png", "figures/s/training.png"]
    for link in ("claims.html#gain", "claims.html#away", "claims.csv", "figures/s/twist.pdf", "tables/s.csv",
                 "tables/s_history.parquet", "timings.csv"):  # fmt: skip
        assert link in page.links
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)
    assert "reproduced 1" in page.text
    assert "20 fits in 2 jobs; seeds 100–109" in page.text
    assert "2 of 20 fits turned non-finite" in page.text
    assert "aplain103" in page.text
    assert "Root seed 77" in page.text
    assert "c0ffee (1 job); decade (1 job)" in page.text
    assert "A change of the truth that data cannot show. Study s." in page.text
    # Nothing that differs between equal runs, nothing from a network, no script.
    for absent in ("12.345", "2026-01-02", "http", "<script", str(tmp_path)):
        assert absent not in text


def test_equal_results_give_an_equal_page(tmp_path):
    index(tmp_path, scores(0.2))
    first = (tmp_path / "results/index.html").read_bytes()
    for file in (tmp_path / "results/fits").rglob("provenance.json"):
        file.write_text(file.read_text().replace("12.345", "99.9"))
    index(tmp_path, scores(0.2))
    assert (tmp_path / "results/index.html").read_bytes() == first
    assert b"claims" not in first.split(b"</nav>")[0].split(b"<nav>")[1]


def test_words_of_the_user_are_escaped(tmp_path):
    done = index(tmp_path, scores(0.2).replace({"setting": {"a": "<b>&"}}).assign(finite=False))
    assert done.returncode == 0
    page = Parsed((tmp_path / "results/index.html").read_text(encoding="utf-8"))
    assert "20 of 20 fits turned non-finite" in page.text
    assert "<b>&plain100" in page.text


def test_a_missing_caption_is_told(tmp_path):
    done = index(tmp_path, scores(0.2), "--captions", tmp_path)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "twist.rst: cannot be read" in done.stderr
    assert not (tmp_path / "results/index.html").exists()


@pytest.mark.parametrize("file", CAPTIONS, ids=lambda p: p.stem)
def test_captions_read_as_docutils_reads_them(file):
    core = pytest.importorskip("docutils.core")
    writers = pytest.importorskip("docutils.writers.html5_polyglot")
    text = file.read_text(encoding="utf-8").replace("{{ snakemake.wildcards.study }}", "tiny")
    quiet = {"report_level": 5, "_disable_config": True, "smart_quotes": False}
    oracle = core.publish_parts(text, writer=writers.Writer(), settings_overrides=quiet)["fragment"]

    def plain(html: str) -> str:
        for tag, ours in (("strong", "b"), ("em", "em")):
            html = html.replace(f"<{tag}>", f"<{ours}>").replace(f"</{tag}>", f"</{ours}>")
        html = re.sub(
            r'<span class="docutils literal">(.*?)</span>', r"<code>\1</code>", html, flags=re.DOTALL
        )
        return " ".join(re.sub(r"</?(span|div)[^>]*>", "", html).replace("</p>", "</p> ").split())

    # Both escape what they must; which quotes they write as entities is their own affair.
    mine = unescape(plain(caption_html(file.read_text(encoding="utf-8"), "tiny")))
    assert mine == unescape(plain(oracle))


def test_captions_escape_and_know_single_letters():
    found = caption_html(
        "**A < b.** At *c* = 0, ``x*y*``\nand *c d*.\n\nStudy {{ snakemake.wildcards.study }}", "s"
    )
    assert found == (
        "<p><b>A &lt; b.</b> At <em>c</em> = 0, <code>x*y*</code> and <em>c d</em>.</p><p>Study s</p>"
    )
