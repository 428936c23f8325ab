"""Which jobs an edit of each module makes stale: computed from code digests, declared in docs/robustness.md.

``python -m tests.unit.staleness`` writes what is computed into that page; the difference is there to be read.
"""

import re
from collections import Counter
from pathlib import Path

from cdgm.data.downloads import DOWNLOADS
from cdgm.data.gene_selection import GENES
from cdgm.data.readers import READERS
from cdgm.figures import ACROSS_STUDIES, FIGURES
from cdgm.models.likelihoods import LIKELIHOODS
from cdgm.objectives.combiners import COMBINERS
from cdgm.objectives.constraints import CONSTRAINTS
from cdgm.objectives.penalties import PENALTIES
from cdgm.procedures import PROCEDURES
from cdgm.simulation.latents import LATENTS
from cdgm.simulation.mixings import MIXINGS
from cdgm.simulation.noises import NOISES
from cdgm.workflow.code_digest import code_files

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/robustness.md"
HEAD = "| edited | stale, and what is made from it |\n|---|---|\n"
MODULES = sorted(
    file.relative_to(ROOT).as_posix()
    for pattern in ("cdgm/**/*.py", "cdgm/**/templates/*", "workflow_scripts/*.py")
    for file in ROOT.glob(pattern)
)
SCRIPTS = sorted(path.stem for path in (ROOT / "workflow_scripts").glob("[!_]*.py"))
#: Command lines that load plug-ins of each kind, because the specification that they get names them.
REGISTRIES = [
    (DOWNLOADS, ("fetch",)),
    (READERS, ("preprocess",)),
    (GENES, ("preprocess",)),
    (LATENTS, ("simulate", "ceiling")),
    (MIXINGS, ("simulate", "ceiling")),
    (NOISES, ("simulate", "ceiling")),
    (LIKELIHOODS, ("fit", "evaluate")),
    (PENALTIES, ("fit",)),
    (COMBINERS, ("fit",)),
    (CONSTRAINTS, ("fit",)),
    (PROCEDURES, ("fit",)),
    (FIGURES, ("draw",)),
    (ACROSS_STUDIES, ("draw",)),
]
PLUGINS = {
    place.partition(":")[0]: scripts for registry, scripts in REGISTRIES for place in registry.values()
}
#: A command line alone, and with each plug-in that a specification can name.
PAIRS = [(script, "") for script in SCRIPTS]
PAIRS += [(script, module) for module, scripts in PLUGINS.items() for script in scripts]


def covered() -> dict[str, set[tuple[str, str]]]:
    """The pairs whose digests cover each module."""
    found: dict[str, set[tuple[str, str]]] = {module: set() for module in MODULES}
    for script, plugin in PAIRS:
        for file in code_files(ROOT / f"workflow_scripts/{script}.py", [plugin] if plugin else []):
            found[file.relative_to(ROOT).as_posix()].add((script, plugin))
    return found


def outcome(pairs: set[tuple[str, str]]) -> str:
    """Jobs that an edit makes stale, as the documentation has them."""
    always = {script for script, plugin in pairs if not plugin}
    named = {script for script, _ in pairs} - always
    jobs = [*(f"`{job}`" for job in sorted(always)), *(f"`{job}` where named" for job in sorted(named))]
    return ", ".join(jobs) or "nothing"


def computed() -> dict[str, str]:
    """Outcome of each module by code digests."""
    return {module: outcome(pairs) for module, pairs in covered().items()}


def declared() -> dict[str, str]:
    """Outcome of each name of the documentation: a module, or a folder for those that are not named."""
    rows = PAGE.read_text(encoding="utf-8").partition(HEAD)[2].partition("\n\n")[0]
    return {
        name if name.startswith("workflow_scripts/") else f"cdgm/{name}": cells[2].strip()
        for cells in (row.split("|") for row in rows.splitlines())
        for name in re.findall(r"`([^`]+)`", cells[1])
    }


def outcome_of(module: str, names: dict[str, str]) -> str | None:
    """Declared outcome of a module, by the longest name that it begins with; None where there is none."""
    fitting = [name for name in names if module == name or (name.endswith("/") and module.startswith(name))]
    return names[max(fitting, key=len)] if fitting else None


def shortest(outcomes: dict[str, str], folder: str = "cdgm/", inherited: str = "") -> dict[str, str]:
    """Names for the documentation: a folder where most modules share an outcome, and its exceptions."""
    inside = {module: found for module, found in outcomes.items() if module.startswith(folder)}
    most, count = Counter(inside.values()).most_common(1)[0]
    names = {}
    if folder != "cdgm/" and most != inherited and count > 2 and 2 * count > len(inside):
        names[folder], inherited = most, most
    for part in sorted({folder + module.removeprefix(folder).partition("/")[0] for module in inside}):
        if part in outcomes:
            names |= {part: outcomes[part]} if outcomes[part] != inherited else {}
        else:
            names |= shortest(outcomes, f"{part}/", inherited)
    return names


def table(outcomes: dict[str, str]) -> str:
    """The contract as the documentation has it: rarely stale modules first."""
    scripts = {module: found for module, found in outcomes.items() if module.startswith("workflow_scripts/")}
    names = shortest(outcomes) | scripts
    rows: dict[str, list[str]] = {}
    for name, found in names.items():
        rows.setdefault(found, []).append(f"`{name.removeprefix('cdgm/')}`")
    ordered = sorted(rows, key=lambda found: (found.count("`"), found.count("where"), found))
    ordered = sorted(ordered, key=lambda found: found != "nothing")
    return HEAD + "".join(f"| {', '.join(rows[found])} | {found} |\n" for found in ordered)


def main() -> None:
    """Write the table."""
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(HEAD)
    PAGE.write_text(before + table(computed()) + "\n" + rest.partition("\n\n")[2], encoding="utf-8")


if __name__ == "__main__":
    main()
