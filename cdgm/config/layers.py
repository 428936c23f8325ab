"""Config files: read them, merge them, and find the file that sets a key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from cdgm.utils.errors import UserError, bad_input

#: The parser of libyaml, where installed: it is eight times as fast as the one in Python.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
#: Most levels of nested lists and mappings; libyaml's parser crashes at some thousand.
MOST_NESTED = 100


def load_layers(files: Sequence[str | Path], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Merge config files, later ones over earlier ones, and single overrides over all.

    Raises
    ------
    UserError
        If a file is missing, no YAML, or no mapping.
    """
    values: dict[str, Any] = {}
    for file in files:
        layer = read_yaml(file)
        if not isinstance(layer, Mapping):
            raise bad_input(file, "", layer, "a mapping of config keys")
        values = merge(values, layer)
    return merge(values, overrides)


def file_with(path: Sequence[Any], files: Sequence[str | Path]) -> str:
    """Return the file that sets ``path``: the last of those that define its longest prefix."""
    best, best_depth = str(files[0]) if files else "config", 0
    for file in files:
        try:
            node = read_yaml(file)
        except UserError:
            continue
        depth = 0
        for part in path:
            if isinstance(node, Mapping) and part in node:
                node = node[part]
            elif isinstance(node, list) and isinstance(part, int) and part < len(node):
                node = node[part]
            else:
                break
            depth += 1
        if depth >= best_depth and depth:
            best, best_depth = str(file), depth
    return best


def read_yaml(path: str | Path) -> Any:
    """Read a YAML file.

    Raises
    ------
    UserError
        If it is missing, not YAML, or nested more deeply than ``MOST_NESTED``.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
        if _nested(text) > MOST_NESTED:
            raise UserError(f"{path}: lists and mappings are nested more than {MOST_NESTED} levels deep")
        return yaml.load(text, Loader=LOADER)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, ValueError) as error:
        # A ValueError: not UTF-8, a day that does not exist, or a number of too many digits.
        line = getattr(getattr(error, "problem_mark", None), "line", None)
        place = f"{path}, line {line + 1}" if line is not None else f"{path}"
        raise UserError(f"{place}: not valid YAML: {getattr(error, 'problem', error)}") from error


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


def merge(base: Mapping[str, Any], override: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``base`` with ``override`` on top: mappings merge, everything else replaces.

    A mapping with a ``kind`` replaces too, so that no option of one plug-in remains in another.
    """
    result = dict(base)
    for key, value in override.items():
        old = result.get(key)
        if isinstance(old, Mapping) and isinstance(value, Mapping) and "kind" not in value:
            result[key] = merge(old, value)
        else:
            result[key] = value
    return result
