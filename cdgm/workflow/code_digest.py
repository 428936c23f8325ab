"""Digests of the source text that can change a result, so that an edit rebuilds only what it affects.

A command line's digest covers its own file and every project module that it imports, directly or not.
Comments, docstrings, layout and imports for type checkers alone do not count: what is hashed is the syntax
tree. Templates that these modules
name (``"page.html.j2"``), and templates that those name, are covered as they stand. Plug-ins
(:mod:`cdgm.utils.registry`) are loaded by name, so they are covered only where a spec names them, and the
tables that list them are left out: a new penalty re-fits nothing, an edited one re-fits what uses it.
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from cdgm.utils.registry import Plugin

PACKAGE = "cdgm"
#: Folder of a package's templates, and their names in code and in other templates.
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
    parts = (f"{f.relative_to(root).as_posix()}:{_source(f).digest}" for f in files)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def code_files(entry: Path, modules: Iterable[str] = ()) -> list[Path]:
    """Return the files that :func:`code_digest` covers, sorted; tables of plug-ins count by their imports."""
    root = entry.resolve().parent.parent
    files = {entry.resolve()}
    queue = [entry.resolve(), *filter(None, (_file_of(root, module) for module in modules))]
    while queue:
        file = queue.pop()
        files.add(file)
        found = [_file_of(root, module) for module in _source(file).imports] + _templates(file)
        queue.extend(f for f in found if f is not None and f not in files)
    return sorted(file for file in files if not _source(file).makes_registry)


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


@dataclass(frozen=True)
class _Source:
    """Summary of a file: modules that it imports, templates, digest, whether it makes a registry."""

    imports: tuple[str, ...]
    templates: tuple[str, ...]
    digest: str
    makes_registry: bool


def _source(file: Path) -> _Source:
    known = file.stat()
    return _read(file, known.st_mtime_ns, known.st_size)


@cache
def _read(file: Path, modified: int, size: int) -> _Source:
    """Parse a file; its time and size tell an edit within one process."""
    text = file.read_text(encoding="utf-8")
    templates = tuple(_TEMPLATE.findall(text))
    if file.suffix != ".py":
        return _Source((), templates, text_digest(file), makes_registry=False)
    tree = ast.parse(text, filename=str(file))
    imports: set[str] = set()
    makes_registry = False
    for_types: set[ast.AST] = set()
    for node in ast.walk(tree):
        if node in for_types:
            continue
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            for_types.update(part for statement in node.body for part in ast.walk(statement))
            node.body = [ast.Pass()]
        elif isinstance(node, ast.Import | ast.ImportFrom):
            imports.update(_imported_modules(node))
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Registry":
            makes_registry = True
        body = getattr(node, "body", None)
        if isinstance(body, list):
            # Strings that stand alone are docstrings or notes: they do nothing.
            kept = [s for s in body if not (isinstance(s, ast.Expr) and _is_string(s.value))]
            body[:] = kept or [ast.Pass()]
    digest = hashlib.sha256(ast.dump(tree).encode()).hexdigest()
    return _Source(tuple(sorted(imports)), templates, digest, makes_registry and file.name == "__init__.py")


def _file_of(root: Path, module: str) -> Path | None:
    """Return the file of a module of this package, or None for anything else."""
    if module in WITHOUT_EFFECT or module.split(".")[0] != PACKAGE:
        return None
    path = root.joinpath(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    # The package's own front door lists the public names and computes nothing.
    return file if module != PACKAGE and file.is_file() else None


def _templates(file: Path) -> list[Path | None]:
    folder = file.parent if file.parent.name == TEMPLATES else file.parent / TEMPLATES
    return [folder / name for name in _source(file).templates if (folder / name).is_file()]


def _imported_modules(node: ast.Import | ast.ImportFrom) -> Iterator[str]:
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif node.module and node.level == 0:
        # ``from a import b``: b may be a module of a, or a name in it.
        names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    else:
        return
    for name in names:
        parts = name.split(".")
        if parts[0] == PACKAGE:
            yield from (".".join(parts[: i + 1]) for i in range(len(parts)))


def _is_string(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)
