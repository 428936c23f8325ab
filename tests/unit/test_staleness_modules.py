"""Which jobs an edited module or template makes stale, by code digests; docs/robustness.md is the contract.

In this process: tests/workflow/test_staleness.py asks Snakemake about some of these edits.
"""

import ast
import shutil
from pathlib import Path

import pytest

from cdgm.workflow.code_digest import code_digest, plugin_modules
from tests.unit.builders import fit_spec
from tests.unit.staleness import (
    MODULES,
    PAIRS,
    PLUGINS,
    REGISTRIES,
    ROOT,
    computed,
    covered,
    declared,
    outcome_of,
)


def digest(root: Path, pair: tuple[str, str]) -> str:
    script, plugin = pair
    return code_digest(root / f"workflow_scripts/{script}.py", [plugin] if plugin else [])


def digests(root: Path) -> dict[tuple[str, str], str]:
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


def test_an_edit_of_a_module_makes_stale_what_the_documentation_says():
    names = declared()
    wrong = {
        module: f"{outcome_of(module, names)} -> {found}"
        for module, found in computed().items()
        if outcome_of(module, names) != found
    }
    assert wrong == {}, "if that is meant: python -m tests.unit.staleness"
    # A module that is renamed takes its line along.
    assert [name for name in names if not any(module.startswith(name) for module in MODULES)] == []


def test_a_constant_in_a_module_changes_just_the_digests_that_cover_it(root, before):
    for module, pairs in covered().items():
        others = [pair for pair in PAIRS if pair not in pairs]
        file = root / module
        text = file.read_text(encoding="utf-8")
        file.write_text(f"{text}\n_A_CONSTANT = 1\n", encoding="utf-8")
        for pair in [*sorted(pairs)[-1:], *others[:1]]:
            assert (digest(root, pair) != before[pair]) == (pair in pairs), (module, pair)
        file.write_text(text, encoding="utf-8")


def test_an_edited_plug_in_is_stale_where_a_specification_names_it():
    found = covered()
    for plugin, scripts in PLUGINS.items():
        file = f"{plugin.replace('.', '/')}.py"
        assert {(script, plugin) for script in scripts} <= found[file], plugin
    named = plugin_modules(fit_spec(variant={"combiner": {"kind": "sum"}}))
    assert {"cdgm.models.likelihoods.gaussian", "cdgm.objectives.combiners.sum"} <= named
    assert not any("penalties" in module for module in named)


def test_comments_docstrings_and_layout_of_all_modules_together_make_nothing_stale(root, before):
    python = [root / module for module in MODULES if module.endswith(".py")]
    texts = {file: file.read_text(encoding="utf-8") for file in python}
    for file, text in texts.items():
        said = text.replace('"""', '"""Said otherwise. ', 1) if text.startswith('"""') else text
        said = said.replace("\n\n\n", "\n\n\n\n\n")
        file.write_text(f"# A note.\n{said}\n\n\n# Another note.\n", encoding="utf-8")
    after = digests(root)
    for file, text in texts.items():
        file.write_text(text, encoding="utf-8")
    assert after == before


def test_new_plug_ins_of_all_kinds_make_nothing_stale(root, before):
    written: dict[Path, str | None] = {}
    for registry, _ in REGISTRIES:
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
        written |= {table: text, new: None}
    after = digests(root)
    for file, content in written.items():
        file.unlink() if content is None else file.write_text(content, encoding="utf-8")
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
