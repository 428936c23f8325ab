"""Verdicts on claims as pages show them: badges, origins of claims, and counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

#: Verdict to the class and the symbol of its badge: a colour never stands alone.
BADGES = {
    "supported": ("yes", "✓"),
    "contradicted": ("no", "✗"),
    "equivalent": ("some", "="),
    "undecided": ("open", "?"),
    "not testable": ("ask", "∅"),
    "not run": ("none", "–"),
}
#: Origin of a claim: what one is called, what several are called, and the head of a column.
SOURCES = {
    "abstract": ("claim of the paper's abstract", "claims of the paper's abstract", "the abstract"),
    "literature": ("claim of the literature", "claims of the literature", "the literature"),
    "theory": ("consequence of the theory", "consequences of the theory", "the theory"),
    "ours": ("claim of this project", "claims of this project", "this project"),
}


def verdict_counts(claims: Iterable[tuple[str, str]]) -> Mapping[str, Counter[str]]:
    """Count verdicts for each source of claims that occurs.

    Parameters
    ----------
    claims
        Source (a key of ``SOURCES``) and verdict of each claim.

    Returns
    -------
    Mapping
        Source to verdict to number, in the order of ``SOURCES``.
    """
    counted: dict[str, Counter[str]] = {source: Counter() for source in SOURCES}
    for source, verdict in claims:
        counted[source][verdict] += 1
    return {source: found for source, found in counted.items() if found}


def count_sentence(source: str, found: Counter[str]) -> str:
    """Say how many claims of a source got each verdict: ``Of 3 claims of the theory, 1 is supported ...``."""
    parts = [f"{found[v]} {'is' if found[v] == 1 else 'are'} {v}" for v in BADGES if found[v]]
    listed = " and ".join(filter(None, [", ".join(parts[:-1]), parts[-1]]))
    return f"Of {found.total()} {SOURCES[source][found.total() > 1]}, {listed}."
