"""Write the table of verdicts of docs/findings.md from the results of a run.

    python -m tests.unit.findings results/claims.csv results/claims_perturbseq.csv

A claim has the verdict of the first file that judged it.
"""

import sys
from pathlib import Path

import pandas as pd

PAGE = Path(__file__).parents[2] / "docs/findings.md"
HEAD = "| claim | by | verdict | condition: estimate [interval] |\n|---|---|---|---|\n"
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
    source = {"ours": "here"}.get(row["source"], row["source"])
    at = f" ({row['alternative']})" if row["alternative"] else ""
    found, low, high = (rounded(row[name], row["value"]) for name in ("estimate", "low", "high"))
    found = f"{found} [{low}, {high}]"
    wanted = f"wanted {SIGNS[row['relation']]} {row['value']:g}, n = {row['n']}"
    wanted += f", {float(row['distance']):.2g} half-widths"
    return (
        f"| {statement} | {source} | {row['claim_verdict']} | {row['condition']}{at}: {found}, {wanted} |\n"
    )


def main(files: list[str]) -> None:
    """Rewrite the rows."""
    judged = pd.concat(
        [pd.read_csv(file, keep_default_na=False, na_values={"estimate": ""}) for file in files]
    )
    judged = judged[judged["claim_verdict"] != "not run"]
    judged = judged.drop_duplicates(["claim", "role", "condition", "alternative"]).reset_index(drop=True)
    numbers = ["estimate", "low", "high", "value"]
    judged[numbers] = judged[numbers].apply(pd.to_numeric)
    rows = "".join(line(group) for _, group in judged.groupby("claim", sort=False))
    before, head, rest = PAGE.read_text(encoding="utf-8").partition(HEAD)
    PAGE.write_text(before + head + rows + "\n" + rest.partition("\n\n")[2], encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
