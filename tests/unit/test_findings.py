"""docs/findings.md agrees with its own numbers, by the rules that judged them, and with README."""

import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/findings.md").read_text(encoding="utf-8")
NUMBER = r"[-+]?[\d.]+(?:e[-+]?\d+)?"
ROW = re.compile(
    r"^\| (?P<statement>.*?) \| (?P<source>\w+) \| (?P<verdict>[a-z ]+) \| (?P<condition>.*?): "
    rf"{NUMBER} \[(?P<low>{NUMBER}), (?P<high>{NUMBER})\], "
    rf"wanted (?P<sign>[≥≤]) (?P<value>{NUMBER}), n = \d+ \|$",
    re.MULTILINE,
)
ROWS = {row["statement"].removesuffix("."): row.groupdict() for row in ROW.finditer(TEXT)}


@pytest.mark.parametrize("statement", ROWS)
def test_a_row_is_what_the_rule_of_then_makes_of_its_numbers(statement):
    row = ROWS[statement]
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
