"""Write the verdicts of docs/findings.md from the results of a run.

    python -m tests.unit.findings results/claims.csv results/claims_perturbseq.csv

A claim has the verdict of the first file that judged it. Rewritten are the table of claims, the count before
it, and the last column of the table of earlier claims.
"""

import re
import sys
from collections import Counter
from pathlib import Path

import pandas as pd

from cdgm.reports.verdicts import count_sentence, verdict_counts

PAGE = Path(__file__).parents[2] / "docs/findings.md"
HEAD = "| claim | by | verdict | condition: estimate [interval] |\n|---|---|---|---|\n"
EARLIER = re.compile(r"^(\| .* \| .* \| `(\w+)` \| .* \| )(.*?)( \|)$", re.MULTILINE)
SIGNS = {"at_least": "≥", "at_most": "≤"}


def deciding(rows: pd.DataFrame) -> pd.Series:
    """The condition to show: of those with the claim's verdict, the one nearest to its threshold."""
    verdict = rows["claim_verdict"].iloc[0]
    refuted = rows["verdict"].isin(["contradicted", "equivalent"])
    # What is not testable is so by a precondition that is refuted.
    own = (
        (rows["role"] == "precondition") & refuted
        if verdict == "not testable"
        else rows["verdict"] == verdict
    )
    if verdict == "supported":
        # Of several alternatives, one of which all conditions hold.
        own &= own.groupby([rows["role"], rows["alternative"]]).transform("all")
    distance = pd.to_numeric(rows["distance"], errors="coerce").abs().fillna(float("inf"))
    return rows.loc[distance[own if own.any() else slice(None)].idxmin()]


def rounded(number: float, limit: float) -> str:
    """Three digits, and more where three would put the number on the other side of the limit."""
    for digits in range(3, 18):
        text = f"{number:.{digits}g}"
        if (float(text) >= limit, float(text) <= limit) == (number >= limit, number <= limit):
            return text
    return repr(number)


def line(rows: pd.DataFrame) -> str:
    """One row of the table."""
    row = deciding(rows)
    statement = row["statement"].removesuffix(".") + "."
    at = f" ({row['alternative']})" if row["alternative"] else ""
    found, low, high = (rounded(row[name], row["value"]) for name in ("estimate", "low", "high"))
    found = f"{found} [{low}, {high}]"
    wanted = f"wanted {SIGNS[row['relation']]} {row['value']:g}, n = {row['n']}"
    wanted += f", {float(row['distance']):.2g} half-widths"
    verdict = f"{row['source']} | {row['claim_verdict']}"
    return f"| {statement} | {verdict} | {row['condition']}{at}: {found}, {wanted} |\n"


def counts(verdicts: list[tuple[str, str]]) -> str:
    """How many claims have which verdict: of all, and of each source."""
    parts = [f"{n} {'is' if n == 1 else 'are'} {v}" for v, n in Counter(v for _, v in verdicts).most_common()]
    by_source = [count_sentence(source, found) for source, found in verdict_counts(verdicts).items()]
    return " ".join([f"Of {len(verdicts)} claims {', '.join(parts)}.", *by_source])


def rewritten(page: str, judged: pd.DataFrame) -> str:
    """The page with the verdicts of these rows of ``claims.csv``."""
    judged = judged[judged["claim_verdict"] != "not run"]
    judged = judged.drop_duplicates(["claim", "role", "condition", "alternative"]).reset_index(drop=True)
    numbers = ["estimate", "low", "high", "value"]
    judged[numbers] = judged[numbers].apply(pd.to_numeric)
    groups = dict(list(judged.groupby("claim", sort=False)))
    first = {name: (rows["source"].iloc[0], rows["claim_verdict"].iloc[0]) for name, rows in groups.items()}
    before, head, after = page.partition(HEAD)
    # The paragraph before the table is the count of the last run.
    before = before.rstrip("\n").rpartition("\n\n")[0]
    table = "".join(map(line, groups.values()))
    after = re.sub(r"\A(\|.*\n)*", "", after)
    page = f"{before}\n\n{counts(list(first.values()))}\n\n{head}{table}{after}"
    return EARLIER.sub(lambda m: f"{m[1]}{first.get(m[2], ('', m[3]))[1]}{m[4]}", page)


def main(files: list[str]) -> None:
    """Rewrite the page."""
    judged = pd.concat(
        [pd.read_csv(file, keep_default_na=False, na_values={"estimate": ""}) for file in files]
    )
    PAGE.write_text(rewritten(PAGE.read_text(encoding="utf-8"), judged), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
