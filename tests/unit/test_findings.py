"""docs/findings.md agrees with its own numbers, and its tables follow the verdicts of a run."""

import re
from pathlib import Path

import pandas as pd
import pytest

from cdgm.config.layers import load_layers
from cdgm.config.study import parse_config
from cdgm.reports.verdicts import BADGES
from tests.unit.findings import EARLIER, HEAD, PAGE, counts, rewritten

ROOT = Path(__file__).parents[2]
TEXT = PAGE.read_text(encoding="utf-8")
FILES = [ROOT / "config.yaml", ROOT / "claims.yaml"]
CLAIMS = parse_config(load_layers(FILES), FILES).claims
NUMBER = r"[-+]?(?:[\d.]+(?:e[-+]?\d+)?|inf|nan)"
ROW = re.compile(
    r"^\| (?P<statement>.*?) \| (?P<source>\w+) \| (?P<verdict>[a-z ]+) \| (?P<condition>.*?): "
    rf"{NUMBER} \[(?P<low>{NUMBER}), (?P<high>{NUMBER})\], "
    rf"wanted (?P<sign>[≥≤]) (?P<value>{NUMBER}), n = \d+, {NUMBER} half-widths \|$",
    re.MULTILINE,
)


def judged(verdict: str, estimate: float, wanted: float = 0.5, **more: object) -> pd.DataFrame:
    """One claim with one condition, as ``claims.csv`` has it."""
    row = {
        "claim": "recovery", "statement": "It is so.", "source": "abstract", "role": "condition",
        "condition": "c", "alternative": "",
        "estimate": estimate, "low": estimate - 0.1, "high": estimate + 0.1,
        "relation": "at_least", "value": wanted, "distance": (estimate - wanted) / 0.1, "n": 10,
        "verdict": verdict, "claim_verdict": verdict,
    }  # fmt: skip
    return pd.DataFrame([row | more])


def rows_of(text: str) -> list[dict[str, str]]:
    return [row.groupdict() for row in ROW.finditer(text)]


def agrees(row: dict[str, str]) -> bool:
    """Whether a row has a verdict that its interval allows."""
    value = float(row["value"])
    right = [
        float(row[e]) >= value if row["sign"] == "≥" else float(row[e]) <= value for e in ("low", "high")
    ]
    allowed = {"supported": all(right), "undecided": not all(right)}
    return allowed.get(row["verdict"], not any(right))


def test_rows_of_the_page_have_verdicts_that_their_intervals_allow():
    rows = rows_of(TEXT)
    table = TEXT.partition(HEAD)[2]
    assert len(rows) == len(re.match(r"(\|.*\n)*", table)[0].splitlines())
    assert [row["statement"] for row in rows if not agrees(row)] == []
    if rows:
        said = counts([(row["source"], row["verdict"]) for row in rows])
        assert said in " ".join(TEXT.split())
        assert said.partition(".")[0] in " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())


def test_every_earlier_claim_lives_on_or_has_a_reason():
    table = TEXT.partition("| earlier claim |")[2].partition("\n\n")[0].splitlines()[2:]
    assert len(table) == 47
    for line in table:
        _, then, became, reason, now = re.split(r" \| ", line.strip("| "))
        assert then in {"reproduced", "not reproduced", "inconclusive"}
        assert reason
        assert became == "without a verdict" if now == "–" else became.strip("`") in CLAIMS
        assert now in {"–", "not judged yet", *BADGES}


@pytest.mark.parametrize(
    ("verdict", "estimate"), [("supported", 0.7), ("contradicted", 0.3), ("undecided", 0.5)]
)
def test_tables_follow_the_verdicts_of_a_run(verdict, estimate):
    once = rewritten(TEXT, judged(verdict, estimate))
    (row,) = rows_of(once)
    assert (row["verdict"], agrees(row)) == (verdict, True)
    assert f"Of 1 claims 1 is {verdict}." in once
    now = {m[2]: m[3] for m in EARLIER.finditer(once)}
    assert now.pop("recovery") == verdict
    assert set(now.values()) <= {"not judged yet", *BADGES}
    # A later run replaces what an earlier one wrote, and nothing else.
    assert rewritten(rewritten(once, judged("supported", 0.9)), judged(verdict, estimate)) == once
    assert once.count("\n## ") == TEXT.count("\n## ")


def test_a_claim_that_is_not_testable_shows_the_precondition():
    rows = pd.concat(
        [
            judged(
                "contradicted", 0.1, role="precondition", condition="it leaks", claim_verdict="not testable"
            ),
            judged("supported", 0.9, claim_verdict="not testable"),
        ]
    )
    (row,) = rows_of(rewritten(TEXT, rows))
    assert (row["verdict"], row["condition"]) == ("not testable", "it leaks")
    assert agrees(row)


def test_readme_lists_every_claim_with_its_study_and_figure():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.findall(
        r"^\| `(\w+)`: .* \| (\w+) \| ([\w ]+) \| .* \| `(\w+)` \| `(\w+)` \|$", readme, re.MULTILINE
    )
    rows = [(name, source, study, figure) for name, source, _, study, figure in found]
    assert rows == [
        (name, claim.source, claim.study, claim.figure) for name, claim in CLAIMS.items() if claim
    ]
    judged = {row["statement"]: row["verdict"] for row in rows_of(TEXT)}
    verdicts = {name: verdict for name, _, verdict, _, _ in found}
    for name, claim in CLAIMS.items():
        if claim and verdicts[name] != "not run":
            assert judged[claim.statement.removesuffix(".") + "."] == verdicts[name], name
