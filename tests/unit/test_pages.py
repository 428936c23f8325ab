"""Pages of results follow their tables, escape users' words, and link to files that exist."""

import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cdgm.estimator.interpretation import interpret, summarise
from cdgm.figures import ACROSS_STUDIES, FIGURES
from cdgm.reports import fit_report
from cdgm.reports.captions import questions, read_caption
from cdgm.reports.rendering import TEMPLATES
from cdgm.reports.verdicts import BADGES
from cdgm.utils.errors import UserError
from cdgm.utils.files import write_json, write_text
from cdgm.utils.joint_names import JOINT
from workflow_scripts import index, judge

ROOT = Path(__file__).parents[2]
HOSTILE = "<script>alert('x')</script>&\""


class Page(HTMLParser):
    """Links, pictures, ids and text of a page; every element has to be closed in order."""

    VOID = ("img", "meta", "rect", "path", "circle")

    def __init__(self, text: str):
        super().__init__()
        self.open, self.links, self.pictures, self.ids, self.words, self.tags = [], [], [], [], [], Counter()
        self.feed(text)
        assert self.open == []
        assert {link[1:] for link in self.links if link.startswith("#")} <= set(self.ids)
        assert len(set(self.ids)) == len(self.ids)
        # Nothing from a network, no script.
        assert self.tags["script"] == self.tags["link"] == 0
        assert not [link for link in self.links + self.pictures if ":" in link]

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.tags[tag] += 1
        if tag not in self.VOID:
            self.open.append(tag)
        self.links += [given["href"]] if "href" in given else []
        self.pictures += [given["src"]] if "src" in given else []
        self.ids += [given["id"]] if "id" in given else []
        assert tag != "img" or given["alt"]

    def handle_startendtag(self, tag, attributes):
        self.tags[tag] += 1

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.words.append(data)


def scores(effect: float, failed=()) -> pd.DataFrame:
    """A table of two variants whose scores differ by an effect, with a few other rows."""
    rng = np.random.default_rng(0)
    rows = []
    for seed in range(100, 110):
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


@pytest.fixture
def script(monkeypatch) -> Callable[..., None]:
    """Call a script of the workflow in this process."""

    def call(module, *arguments: object) -> None:
        monkeypatch.setattr(sys, "argv", [module.__name__, *map(str, arguments)])
        module.main()

    return call


@pytest.fixture
def judged(script, tmp_path):
    """Judge two claims, one of which was not run, on a table; gives the page."""

    def make(
        table: pd.DataFrame, statement: str = "The better one is better", name: str = "claims", **changes
    ) -> Page:
        of = {"variant": "better", "metric": "recovery_cc"}
        claim = {
            "statement": statement,
            "source": "abstract",
            "note": f"Note: {statement}",
            "study": "s",
            "figure": "twist",
        }
        condition = {"name": f"{statement} by 0.1", "of": of, "minus": of | {"variant": "plain"}}
        claim["conditions"] = [condition | {"at_least": 0.1}]
        other = claim | {"statement": "Elsewhere", "source": "ours"}
        job = {"claims": [["gain", claim], ["away", other]], "not_run": {"away": "Study z is left out."}}
        job |= {"alpha": {}, "ends": {}}
        write_json(tmp_path / "claims.json", job | changes)
        (tmp_path / "tables").mkdir(exist_ok=True)
        table.to_csv(tmp_path / "tables/s.csv", index=False)
        out = tmp_path / "results"
        script(
            judge, "--claims", tmp_path / "claims.json", "--tables", tmp_path / "tables/s.csv",
            "--out", out / f"{name}.csv", "--page", out / f"{name}.html",
            *(("--study=s", "--of=_x") if "/" in name else ()),
        )  # fmt: skip
        return Page((out / f"{name}.html").read_text(encoding="utf-8"))

    return make


@pytest.fixture
def first_page(script, tmp_path):
    """Lay out the first page of results with one study; gives its text."""
    results = tmp_path / "results"

    def make(table: pd.DataFrame, *more: object) -> str:
        (results / "tables").mkdir(parents=True, exist_ok=True)
        table.to_csv(results / "tables/s.csv", index=False)
        for variant, commit in (("plain", "c0ffee"), ("better", "decade")):
            record = {"commit": commit, "python": "3.11.9", "system": "Linux", "machine": "x86_64"}
            record |= {"versions": {"numpy": "2.0.1"}, "wall_seconds": 12.345, "started": "2026-01-02"}
            write_json(results / f"fits/d-{variant}/provenance.json", record)
        write_json(tmp_path / "index.json", [{"study": "s", "figures": ["twist", "training"]}])
        script(
            index, "--spec", tmp_path / "index.json", "--root-seed", 77,
            "--results", results, "--out", results / "index.html", *more,
        )  # fmt: skip
        return (results / "index.html").read_text(encoding="utf-8")

    return make


@pytest.mark.parametrize(
    ("effect", "verdict"), [(0.2, "supported"), (0.1, "undecided"), (0.0, "contradicted")]
)
def test_a_doctored_table_turns_the_verdict(effect, verdict, judged, tmp_path):
    page = judged(scores(effect))
    table = pd.read_csv(tmp_path / "results/claims.csv", keep_default_na=False)
    assert table["claim"].tolist() == ["gain", "away"]
    assert table["claim_verdict"].tolist() == [verdict, "not run"]
    words = page.text
    badge = f"{BADGES[verdict][1]} {verdict}"
    assert f"The better one is better {badge} Claim of the paper's abstract · name gain" in words
    assert "wanted ≥ 0.1; 10 of 10 seeds" in words
    assert ("the interval contains the threshold" in words) == (verdict == "undecided")
    assert "Study z is left out." in words
    # What was not run comes last, without a figure.
    assert words.index("Elsewhere") > words.index("Claims that were not run")
    assert page.pictures == ["figures/s/twist.png"]
    assert {"gain", "away"} <= set(page.ids)


def test_the_claims_of_one_study_have_a_page_that_shows_the_figures_that_are_drawn(judged, tmp_path):
    page = judged(scores(0.2), name="claims/s")
    assert page.text.startswith("Claims and verdicts: study s")
    assert page.pictures == []
    assert "Figure twist is not drawn yet: snakemake --cores 2 results/figures/s/twist.png" in page.text
    write_text(tmp_path / "results/figures/s/twist.png", "")
    page = judged(scores(0.2), name="claims/s")
    assert {"../index_x.html", "s.csv", "../figures/s/twist.pdf"} <= set(page.links)
    assert page.pictures == ["../figures/s/twist.png"]


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"claims": 3}, "claims.json: claims: got 3"),
        ({"claims": [["gain", {"statement": "x"}]]}, "claims.gain.source: missing"),
        ({"more": 1}, "'claims', 'not_run', 'alpha' and 'ends'"),
    ],
)
def test_files_that_are_not_claims_are_refused(change, part, judged, tmp_path):
    with pytest.raises(UserError, match=part):
        judged(scores(0.2), **change)
    assert not (tmp_path / "results").exists()


def test_a_damaged_table_is_refused(judged):
    with pytest.raises(UserError, match=r"study 's'.*'finite'"):
        judged(scores(0.2).drop(columns="finite"))


def test_the_first_page_holds_verdicts_figures_tables_and_provenance(judged, first_page, tmp_path):
    judged(scores(0.2))
    failed = {("plain", 103), ("better", 107)}
    text = first_page(scores(0.2, failed=failed), "--claims", tmp_path / "results/claims.csv")
    page = Page(text)
    assert page.pictures == ["figures/s/twist.png", "figures/s/training.png"]
    for link in ("claims.html#gain", "claims.html#away", "claims.csv", "figures/s/twist.pdf", "tables/s.csv",
                 "tables/s_history.parquet", "timings.csv", "#s-twist"):  # fmt: skip
        assert link in page.links
    for words in (
        "Of 1 claim of the paper's abstract, 1 is supported. Of 1 claim of this project, 1 is not run.",
        "20 fits in 2 jobs; seeds 100–109",
        "2 of 20 fits became non-finite",
        "aplain103",
        "Root seed 77",
        "c0ffee (1 job); decade (1 job)",
        "Study s. Pairs of coordinates",
    ):
        assert words in page.text
    # Each figure's question: in the list of figures, and above the figure.
    for question in (read_caption(ROOT / f"report/{f}.rst", "s").question for f in ("twist", "training")):
        assert page.text.count(question) == 2
    # Nothing that differs between equal runs.
    for absent in ("12.345", "2026-01-02", str(tmp_path)):
        assert absent not in text


def test_equal_results_give_an_equal_page(first_page, tmp_path):
    first = first_page(scores(0.2))
    for file in (tmp_path / "results/fits").rglob("provenance.json"):
        file.write_text(file.read_text().replace("12.345", "99.9"))
    assert first_page(scores(0.2)) == first
    assert 'href="#claims"' not in first


def test_words_of_the_user_are_escaped(judged, first_page, tmp_path):
    page = judged(scores(0.2), statement=HOSTILE)
    assert page.text.count(HOSTILE) == 6  # statement, note twice, condition twice, closest call
    table = scores(0.2).replace({"setting": {"a": HOSTILE}}).assign(finite=False)
    page = Page(first_page(table, "--claims", tmp_path / "results/claims.csv"))
    assert "20 of 20 fits became non-finite" in page.text
    assert f"{HOSTILE}plain100" in page.text
    assert page.text.count(HOSTILE) == 21  # twenty fits and a claim


def test_every_figure_has_a_caption_that_asks_a_question():
    asked = questions(ROOT / "report")
    assert set(asked) == {*FIGURES, *ACROSS_STUDIES}
    assert len(set(asked.values())) == len(asked)
    for figure, question in asked.items():
        assert question[0].isupper(), figure
        assert question.endswith("?"), figure
        body = read_caption(ROOT / f"report/{figure}.rst", "tiny").body
        assert figure in ACROSS_STUDIES or "tiny" in body.split("</p>")[0]
        for part in ("What to conclude.", "What not to conclude."):
            assert body.count(f"<p><em>{part}</em>") == 1, figure


def test_a_caption_is_read_as_restructured_text(tmp_path):
    file = tmp_path / "f.rst"
    file.write_text(
        "**Is A < b?** At *c* = 0, ``x*y*``\nand *c d*.\n\nStudy {{ snakemake.wildcards.study }}", "utf-8"
    )
    caption = read_caption(file, "s")
    assert caption.question == "Is A < b?"
    literal = '<span class="docutils literal">x*y*</span>'
    assert caption.body == f"<p> At <em>c</em> = 0, {literal}\nand <em>c d</em>.</p>\n<p>Study s</p>"


@pytest.mark.parametrize(
    ("text", "part"),
    [
        (None, "f.rst: cannot be read"),
        ("No question.", r"f.rst: got 'No question.', expected a caption that begins with its question"),
        ("**Why?** ``open", "f.rst: not a valid caption: .*literal start-string without end-string"),
        ("**Why?** {{ snakemake.wildcards.fit }}", "f.rst: not a valid caption: .*'fit'"),
        ("**Why?**\n\n.. raw:: html\n\n   <script>", "f.rst: not a valid caption: .*raw"),
    ],
)
def test_a_caption_that_cannot_be_read_is_refused(text, part, first_page, tmp_path):
    if text is not None:
        (tmp_path / "f.rst").write_text(text, "utf-8")
    with pytest.raises(UserError, match=part) as refused:
        read_caption(tmp_path / "f.rst", "s")
    assert len(str(refused.value).splitlines()) == 1


WRITTEN = ("latents.csv", "elbo.csv", "leakage.csv", "genes.csv", "model/model.json")


def fit_page(label: str = "state", source: str = "target", gene: str = "g0") -> fit_report.FitPage:
    """Contents of the page of a fit with one strong dependence of blocks."""
    elbo = pd.DataFrame(
        {"member": [0, 1], "source": [source] * 2, "finite": True, "elbo": -1.25, "kl_salient": 2.0}
    )
    leakage = pd.DataFrame(
        {"metric": "hsic", "block": f"background{JOINT}salient", "source": source, "member": [0, 1],
         "value": 0.2, "null_mean": 0.0, "null_high": 0.01, "trace": True}
    )  # fmt: skip
    genes = pd.DataFrame(
        {"gene": [gene, "g1"], "change": [1.5, np.nan], "members_agree": ["2 of 2", "1 of 2"]}
    )
    checks = interpret(elbo, leakage, None, label)
    return fit_report.FitPage(
        summary=summarise(checks, ("salient",)), checks=checks, about=f"1,500 background, 20 {source} rows",
        private=("salient",), shown=1, stopping=(), layout="pca", elbo=elbo, leakage=leakage,
        stability=None, genes=genes, label=label, settings={"label": label},
    )  # fmt: skip


def test_the_page_of_a_fit_begins_with_its_conclusion():
    page = Page(fit_report.fit_report(fit_page(), WRITTEN))
    assert "A comparative model of your data Interpret the salient block of this fit with care:" in page.text
    assert "HSIC 0.2, 20 times its limit" in page.text
    assert "reason for doubtHSIC 20 × limit" in page.text
    assert "of the column state" in page.text
    assert "1,500 background, 20 target rows" in page.text
    assert "g01.52 of 2" in page.text
    assert "g11 of 2" in page.text  # no number where there is none
    assert "private block" not in page.text
    assert set(page.pictures) == {"figures/maps.png", "figures/training.png"}
    assert {"elbo.csv", "genes.csv", "leakage.csv"} <= set(page.links)
    assert not {"cells.h5ad", "stability.csv"} & set(page.links)
    assert fit_report.fit_report(fit_page(), WRITTEN) == fit_report.fit_report(fit_page(), WRITTEN)


def test_the_glossary_explains_all_terms():
    glossary = Page(f"<main>{(TEMPLATES / 'glossary.html.j2').read_text(encoding='utf-8')}</main>")
    assert {f"term-{term}" for term in {*fit_report.TERMS.values(), "kl", "settled", "nats"}} <= set(
        glossary.ids
    )


def test_the_page_of_a_fit_escapes_names():
    fit = fit_page(HOSTILE, HOSTILE, HOSTILE)
    check = fit_report.Check("labels", HOSTILE, "ask", "labels")
    page = Page(fit_report.fit_report(replace(fit, checks=[*fit.checks, check], stopping=[HOSTILE]), WRITTEN))
    assert page.text.count("<script>") == 11
