"""Which jobs a changed constant makes stale, for each module, template and command line.

In this process, by digests of code alone; tests/workflow/test_staleness.py asks Snakemake for some of them.
"""

from __future__ import annotations

import ast
import shutil
from pathlib import Path

import pytest

from cdgm.data.downloads import DOWNLOADS
from cdgm.data.genes import GENES
from cdgm.data.readers import READERS
from cdgm.figures import FIGURES
from cdgm.models.likelihoods import LIKELIHOODS
from cdgm.objectives.combiners import COMBINERS
from cdgm.objectives.constraints import CONSTRAINTS
from cdgm.objectives.penalties import PENALTIES
from cdgm.simulation.latents import LATENTS
from cdgm.simulation.mixings import MIXINGS
from cdgm.simulation.noises import NOISES
from cdgm.workflow.code_digest import code_digest, code_files
from tests.unit.staleness import BUILT_ON, OUTCOMES, outcome_of, table

ROOT = Path(__file__).parents[2]
MODULES = sorted(
    file.relative_to(ROOT).as_posix()
    for pattern in ("cdgm/**/*.py", "cdgm/**/templates/*", "workflow_scripts/*.py")
    for file in ROOT.glob(pattern)
)
SCRIPTS = sorted(path.stem for path in (ROOT / "workflow_scripts").glob("*.py"))
# Command lines that load plug-ins of each kind, because the specification that they get names them.
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
]
PLUGINS = {
    place.partition(":")[0]: scripts for registry, scripts in REGISTRIES for place in registry.values()
} | {place.partition(":")[0]: ("draw",) for place in FIGURES.values()}
PAIRS = [(script, "") for script in SCRIPTS]
PAIRS += [(script, module) for module, scripts in PLUGINS.items() for script in scripts]


def digest(root: Path, pair: tuple[str, str]) -> str:
    script, plugin = pair
    return code_digest(root / f"workflow_scripts/{script}.py", [plugin] if plugin else [])


def digests(root: Path) -> dict[tuple[str, str], str]:
    """Digest of each command line alone, and with each plug-in that a specification can name."""
    return {pair: digest(root, pair) for pair in PAIRS}


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("modules")
    for part in ("cdgm", "workflow_scripts"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.fixture(scope="module")
def before(root) -> dict[tuple[str, str], str]:
    return digests(root)


@pytest.fixture(scope="module")
def covered() -> dict[str, set[tuple[str, str]]]:
    """The pairs whose digests cover a module."""
    found: dict[str, set[tuple[str, str]]] = {module: set() for module in MODULES}
    for script, plugin in PAIRS:
        for file in code_files(ROOT / f"workflow_scripts/{script}.py", [plugin] if plugin else []):
            found[file.relative_to(ROOT).as_posix()].add((script, plugin))
    return found


@pytest.mark.parametrize("module", MODULES)
def test_a_constant_in_a_module_makes_stale_what_it_can_change(module, root, before, covered):
    expected = outcome_of(module)
    assert expected is not None, f"{module}: say in tests/unit/staleness.py what an edit of it makes stale"
    always = {script for script, plugin in covered[module] if not plugin}
    named = {script for script, _ in covered[module]} - always
    jobs = [*sorted(always), *(f"{script}*" for script in sorted(named))]
    assert (", ".join(jobs) or "nothing") == expected
    # And digests do change, and those of others do not.
    others = [pair for pair in PAIRS if pair not in covered[module]]
    file = root / module
    text = file.read_text(encoding="utf-8")
    file.write_text(f"{text}\n_A_CONSTANT = 1\n", encoding="utf-8")
    for pair in [*sorted(covered[module])[:1], *sorted(covered[module])[-1:], *others[:1], *others[-1:]]:
        assert (digest(root, pair) != before[pair]) == (pair in covered[module]), pair
    file.write_text(text, encoding="utf-8")


def test_an_edited_plug_in_is_stale_where_it_is_named_and_nowhere_else(covered):
    for plugin, scripts in PLUGINS.items():
        found = covered[f"{plugin.replace('.', '/')}.py"]
        assert {(script, plugin) for script in scripts} <= found
        if BUILT_ON.get(plugin) != "all simulations":
            others = {other for _, other in found} - {plugin}
            assert others == set(BUILT_ON.get(plugin, ())), plugin


def test_the_documentation_states_the_same_contract():
    page = (ROOT / "docs/robustness.md").read_text(encoding="utf-8")
    assert table() in page, f"docs/robustness.md should hold\n{table()}"


def test_what_is_declared_is_there():
    """So that a module which is renamed takes its outcome along."""
    names = [name for names in OUTCOMES.values() for name in names]
    assert len(set(names)) == len(names)
    for name in names:
        assert any(module.startswith(name) for module in MODULES), f"{name}: no such module"
        assert name.endswith((".py", ".j2", ".css", "/"))


def test_comments_and_docstrings_of_all_modules_together_make_nothing_stale(root, before):
    python = [root / module for module in MODULES if module.endswith(".py")]
    texts = {file: file.read_text(encoding="utf-8") for file in python}
    for file, text in texts.items():
        said = text.replace('"""', '"""Said otherwise. ', 1) if text.startswith('"""') else text
        file.write_text(f"# A note.\n{said}\n\n\n# Another note.\n", encoding="utf-8")
    after = digests(root)
    for file, text in texts.items():
        file.write_text(text, encoding="utf-8")
    assert after == before


@pytest.mark.parametrize("registry", [registry for registry, _ in REGISTRIES], ids=lambda r: r.what)
def test_a_new_plug_in_of_any_kind_makes_nothing_stale(registry, root, before):
    kind, place = next(iter(registry.items()))
    module, _, name = place.partition(":")
    folder = root / module.replace(".", "/")
    table = folder.with_name("__init__.py")
    text = table.read_text(encoding="utf-8")
    line = f'"{kind}": "{place}",'
    assert text.count(line) == 1
    new = folder.with_name("another.py")
    new.write_text(folder.with_suffix(".py").read_text(encoding="utf-8"), encoding="utf-8")
    another = f'"another": "{module.rpartition(".")[0]}.another:{name}",'
    table.write_text(text.replace(line, f"{line} {another}"), encoding="utf-8")
    after = digests(root)
    table.write_text(text, encoding="utf-8")
    new.unlink()
    assert after == before


def test_digests_see_every_import():
    """They follow imports by full names; what is imported by a text has to be a plug-in."""
    by_text = {"cdgm/__init__.py", "cdgm/utils/registry.py", "cdgm/cli/main.py"}
    for module in (module for module in MODULES if module.endswith(".py")):
        tree = ast.parse((ROOT / module).read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{module}: a relative import"
                assert node.module.split(".")[0] != "workflow_scripts", (
                    f"{module}: command lines share nothing"
                )
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(
                ("import_module", "__import__")
            ):
                assert module in by_text, f"{module}: {ast.unparse(node)}"
