"""Digests of code: which source text can change a result, so that an edit rebuilds just what it can change.

A command line's digest covers its own file and every project module that it imports, directly or not.
Comments, docstrings and layout do not count: what is hashed is the syntax tree. Templates that these modules
name (``"page.html.j2"``), and templates that those name, are covered as they stand. Plug-ins
(:mod:`cdgm.utils.registry`) are loaded by name, so they are covered only where a spec names them, and the
tables that list them are left out: a new penalty re-fits nothing, an edited one re-fits what uses it.
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from cdgm.utils.registry import Plugin

PACKAGE = "cdgm"
#: Folder of a package's templates, and how their names stand in code and in other templates.
TEMPLATES = "templates"
_TEMPLATE = re.compile(r"""["']([\w.-]+\.(?:j2|css))["']""")
# These check, report and record; no result depends on them, so an edit of theirs rebuilds nothing.
WITHOUT_EFFECT = frozenset(
    {
        "cdgm.utils.command_line",
        "cdgm.utils.errors",
        "cdgm.utils.progress",
        "cdgm.utils.provenance",
        "cdgm.config.validation",
    }
)


def code_digest(entry: Path, modules: Iterable[str] = ()) -> str:
    """Digest of a command line's code.

    Parameters
    ----------
    entry
        The command line's file; the package lies beside its folder.
    modules
        Dotted names of further modules to cover: the plug-ins that a spec names.

    Returns
    -------
    str
        16 hexadecimal digits.
    """
    root = entry.resolve().parent.parent
    files = code_files(entry, modules)
    parts = (f"{f.relative_to(root).as_posix()}:{_digest(f)}" for f in files)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def code_files(entry: Path, modules: Iterable[str] = ()) -> list[Path]:
    """Files that :func:`code_digest` covers, sorted."""
    root = entry.resolve().parent.parent
    files = {entry.resolve()}
    queue = [entry.resolve(), *filter(None, (_file_of(root, module) for module in sorted(modules)))]
    while queue:
        file = queue.pop()
        files.add(file)
        queue.extend(f for f in _named(root, file) if f not in files)
    return sorted(files)


def plugin_modules(value: Any) -> set[str]:
    """Modules of all plug-ins anywhere inside a spec."""
    if isinstance(value, BaseModel):
        found = {type(value).__module__} if isinstance(value, Plugin) else set()
        return found.union(*(plugin_modules(getattr(value, name)) for name in type(value).model_fields))
    if isinstance(value, dict):
        return set().union(*(plugin_modules(v) for v in value.values()))
    if isinstance(value, (list, tuple)):
        return set().union(*(plugin_modules(v) for v in value))
    return set()


def text_digest(file: Path) -> str:
    """Digest of a file that is shown as it is: a caption. Empty without the file."""
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16] if file.is_file() else ""


def _file_of(root: Path, module: str) -> Path | None:
    """File of a module of this package, or None for anything else and for tables of plug-ins."""
    if module in WITHOUT_EFFECT or module.split(".")[0] != PACKAGE:
        return None
    path = root.joinpath(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    # The package's own front door lists the public names and computes nothing.
    if module == PACKAGE or not file.is_file() or _is_registry(file):
        return None
    return file


def _named(root: Path, file: Path) -> list[Path]:
    """Files that a file imports, extends, includes or renders."""
    text = file.read_text(encoding="utf-8")
    folder = file.parent if file.parent.name == TEMPLATES else file.parent / TEMPLATES
    templates = [folder / name for name in _TEMPLATE.findall(text) if (folder / name).is_file()]
    return [*templates, *(_imports(root, file, _stamp(file)) if file.suffix == ".py" else ())]


def _digest(file: Path) -> str:
    return _tree_digest(file, _stamp(file)) if file.suffix == ".py" else text_digest(file)


def _stamp(file: Path) -> tuple[int, int]:
    """Tells whether a file is still the one that was read, so that an edit within one process is seen."""
    known = file.stat()
    return known.st_mtime_ns, known.st_size


@cache
def _imports(root: Path, file: Path, stamp: tuple[int, int]) -> tuple[Path, ...]:
    found = {_file_of(root, module) for module in _imported_modules(_tree(file, stamp))}
    return tuple(sorted(f for f in found if f is not None))


def _imported_modules(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            # ``from a import b``: b may be a module of a, or a name in it.
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            parts = name.split(".")
            yield from (".".join(parts[: i + 1]) for i in range(len(parts)))


@cache
def _tree(file: Path, stamp: tuple[int, int]) -> ast.AST:
    return ast.parse(file.read_text(encoding="utf-8"), filename=str(file))


def _is_registry(file: Path) -> bool:
    return file.name == "__init__.py" and _makes_registry(file, _stamp(file))


@cache
def _makes_registry(file: Path, stamp: tuple[int, int]) -> bool:
    return any(
        isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Registry"
        for node in ast.walk(_tree(file, stamp))
    )


@cache
def _tree_digest(file: Path, stamp: tuple[int, int]) -> str:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            # Strings that stand alone are docstrings or notes: they do nothing.
            kept = [s for s in body if not (isinstance(s, ast.Expr) and _is_string(s.value))]
            node.body = kept or [ast.Pass()]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()


def _is_string(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)
