"""docs/findings.md agrees with claims.yaml, with its own numbers, and with README."""

import re
from collections import Counter
from pathlib import Path

import pytest

from cdgm.config.layers import load_layers
from cdgm.config.study import parse_config

ROOT = Path(__file__).parents[2]
FILES = [ROOT / "config.yaml", ROOT / "claims.yaml"]
CLAIMS = parse_config(load_layers(FILES), FILES).claims
TEXT = (ROOT / "docs/findings.md").read_text(encoding="utf-8")
SIGNS = {"at_least": "≥", "at_most": "≤"}
NUMBER = r"[-+]?[\d.]+(?:e[-+]?\d+)?"
ROW = re.compile(
    r"^\| (?P<statement>.*?) \| (?P<source>\w+) \| (?P<verdict>[a-z ]+) \| (?P<condition>.*?): "
    rf"{NUMBER} \[(?P<low>{NUMBER}), (?P<high>{NUMBER})\], "
    rf"wanted (?P<sign>[≥≤]) (?P<value>{NUMBER}), n = \d+ \|$",
    re.MULTILINE,
)
ROWS = {row["statement"].removesuffix("."): row.groupdict() for row in ROW.finditer(TEXT)}
JUDGED = {" ".join(claim.statement.split()).removesuffix("."): claim for claim in CLAIMS.values()}


def test_every_claim_has_its_row():
    assert ROWS.keys() == JUDGED.keys()


@pytest.mark.parametrize("statement", ROWS)
def test_a_row_is_what_the_rule_makes_of_its_numbers(statement):
    row, claim = ROWS[statement], JUDGED[statement]
    assert row["source"] == {"ours": "here"}.get(claim.source, claim.source)
    conditions = [c for clause in claim.conditions for c in getattr(clause, "conditions", [clause])]
    assert any(row["condition"].startswith(name.name) for name in (*claim.conditions, *conditions))
    limits = {(SIGNS[relation], value) for relation, value in (c.wanted for c in conditions)}
    assert (row["sign"], float(row["value"])) in limits
    right = [
        float(row[end]) >= float(row["value"])
        if row["sign"] == "≥"
        else float(row[end]) <= float(row["value"])
        for end in ("low", "high")
    ]
    expected = "reproduced" if all(right) else "inconclusive" if any(right) else "not reproduced"
    assert row["verdict"] == expected


def test_counts_are_those_of_the_rows():
    counts = Counter(row["verdict"] for row in ROWS.values())
    in_words = (
        f"Of {len(ROWS)} claims {counts['reproduced']} are reproduced, {counts['not reproduced']} are not, "
        f"{counts['inconclusive']} are inconclusive"
    )
    assert in_words in " ".join(TEXT.split())
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    in_words = (
        f"{counts['reproduced']} claims are reproduced, {counts['not reproduced']} are not, "
        f"{counts['inconclusive']} are inconclusive"
    )
    assert in_words in readme
