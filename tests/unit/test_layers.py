"""A package of cdgm imports only packages before it in the order of the flow."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
ORDER = (
    "utils", "config", "simulation", "data", "models", "objectives", "training", "evaluation", "procedures",
    "workflow", "claims", "plotting", "figures", "reports", "estimator", "cli",
)  # fmt: skip


def imported(file: Path) -> set[str]:
    """Packages of cdgm that a module imports, also inside of functions, but not those for types alone."""
    names: set[str] = set()
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return {name.split(".")[1] for name in names if name.startswith("cdgm.")}


def test_every_package_has_its_place():
    packages = {file.parent.name for file in (ROOT / "cdgm").glob("*/__init__.py")}
    assert packages == set(ORDER)
    assert {file.name for file in (ROOT / "cdgm").glob("*.py")} == {"__init__.py", "__main__.py"}


def test_imports_go_down():
    upwards = {
        f"{file.relative_to(ROOT)} imports cdgm.{package}"
        for layer, name in enumerate(ORDER)
        for file in (ROOT / "cdgm" / name).rglob("*.py")
        for package in imported(file)
        if ORDER.index(package) > layer
    }
    assert upwards == set()
