"""Read YAML files of plain values: what could be read in two ways is refused with its line."""

from __future__ import annotations

import os
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from cdgm.utils.errors import UserError, shown

#: The parser of libyaml, where installed: it is eight times as fast as the one in Python.
LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
#: Most levels of nested lists and mappings; libyaml's parser crashes at some thousand.
MOST_NESTED = 100
#: Largest file: some hundred times the project's own.
MOST_BYTES = 20_000_000

_TAG = "tag:yaml.org,2002:"
# The forms that YAML 1.1 and 1.2 read alike: no base 60 (1:30), octal (010), binary, or "_" between digits.
_PLAIN = {
    f"{_TAG}int": (re.compile(r"[-+]?(0|[1-9][0-9]{0,399})"), "a number in decimal digits"),
    f"{_TAG}float": (
        re.compile(
            r"[-+]?([0-9]{1,400}\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
        ),
        "a number in decimal digits",
    ),
    f"{_TAG}bool": (re.compile("true|True|TRUE|false|False|FALSE"), "true, false, or the word in quotes"),
    f"{_TAG}timestamp": (re.compile("(?!)"), "a date in quotes"),
}
_KNOWN = {f"{_TAG}{name}" for name in ("str", "null", "map", "seq")}


def read_yaml(path: str | Path) -> Any:
    """Read a YAML file; it is parsed once, until it changes. The values must not be modified.

    Raises
    ------
    UserError
        If it is missing, not YAML, larger than :data:`MOST_BYTES` or nested more deeply than
        :data:`MOST_NESTED`; if a key is set twice or is no text; if a value is no plain value, or is one
        number or another by the version of YAML. Names the line.
    """
    try:
        found = os.stat(path)
        return _read(
            str(path), (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        )
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error


@lru_cache(maxsize=32)
def _read(path: str, version: tuple[int, ...]) -> Any:
    if version[2] > MOST_BYTES:
        raise UserError(f"{path}: has {version[2]:,} bytes, expected at most {MOST_BYTES:,}")
    if not os.path.isfile(path):
        raise UserError(f"{path}: cannot be read: not a file")
    try:
        text = Path(path).read_text(encoding="utf-8")
        if _nested(text) > MOST_NESTED:
            raise UserError(f"{path}: lists and mappings are nested more than {MOST_NESTED} levels deep")
        loader = LOADER(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _check(node, path)
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except (yaml.YAMLError, ValueError) as error:
        line = getattr(getattr(error, "problem_mark", None), "line", None)
        if isinstance(error, UnicodeDecodeError):
            line = error.object.count(b"\n", 0, error.start)
        place = f"{path}, line {line + 1}" if line is not None else path
        raise UserError(f"{place}: not valid YAML: {getattr(error, 'problem', error)}") from error


def _check(root: yaml.Node, path: str) -> None:
    """Refuse keys set twice or that are no text, and values that are not plain or hold themselves."""
    seen: set[int] = set()
    inside: set[int] = set()
    left: list[tuple[yaml.Node, bool]] = [(root, False)]
    while left:
        node, done = left.pop()
        if done:
            inside.discard(id(node))
            continue
        where = f"{path}, line {node.start_mark.line + 1}"
        if id(node) in inside:
            raise UserError(f"{where}: the value of an anchor (&) holds itself")
        if id(node) in seen:
            continue
        seen.add(id(node))
        inside.add(id(node))
        left.append((node, True))
        if isinstance(node, yaml.ScalarNode) and node.tag in _PLAIN:
            form, expected = _PLAIN[node.tag]
            if not form.fullmatch(node.value):
                raise UserError(f"{where}: got {shown(node.value)}, expected {expected}")
        elif node.tag not in _KNOWN:
            what = node.tag.removeprefix(_TAG)
            raise UserError(
                f"{where}: got a value of type {what}, expected text, a number, a list or a mapping"
            )
        if isinstance(node, yaml.SequenceNode):
            left.extend((value, False) for value in node.value)
        elif isinstance(node, yaml.MappingNode):
            _check_keys(node, path)
            left.extend((value, False) for _, value in node.value)


def _check_keys(node: yaml.MappingNode, path: str) -> None:
    lines: dict[str, int] = {}
    for key, _ in node.value:
        line = key.start_mark.line + 1
        if key.tag == f"{_TAG}merge":
            continue
        if key.tag != f"{_TAG}str":
            raise UserError(
                f"{path}, line {line}: got the key {shown(key.value)}, expected text: put it in quotes"
            )
        if key.value in lines:
            first = lines[key.value]
            raise UserError(
                f"{path}, line {line}: the key {shown(key.value)} is set twice, first in line {first}"
            )
        lines[key.value] = line


def _nested(text: str) -> int:
    """Count the levels of nested lists and mappings, up to one more than ``MOST_NESTED``."""
    depth = deepest = 0
    for event in yaml.parse(text, Loader=LOADER):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            deepest = max(deepest, depth)
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if deepest > MOST_NESTED:
            break
    return deepest
