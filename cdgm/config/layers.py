"""Config files: merge them, and find the file that sets a key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cdgm.config.yaml_file import read_yaml
from cdgm.utils.errors import UserError, bad_input

#: A file, or values of the command line.
Layer = str | Path | Mapping[str, Any]


def read_layer(layer: Layer) -> Any:
    """Values of a layer."""
    return layer if isinstance(layer, Mapping) else read_yaml(layer)


def layer_name(layer: Layer) -> str:
    """Name of a layer, for messages."""
    return "--config" if isinstance(layer, Mapping) else str(layer)


def load_layers(layers: Sequence[Layer]) -> dict[str, Any]:
    """Merge layers, later ones over earlier ones.

    Raises
    ------
    UserError
        If a file is missing, no YAML, or no mapping.
    """
    values: dict[str, Any] = {}
    for layer in layers:
        own = read_layer(layer)
        if not isinstance(own, Mapping):
            raise bad_input(layer_name(layer), "", own, "a mapping of config keys")
        values = merge(values, own)
    return values


def file_with(path: Sequence[Any], layers: Sequence[Layer]) -> str:
    """Return the name of the layer that sets ``path``: the last of those that define its longest prefix."""
    best, best_depth = layer_name(layers[0]) if layers else "config", 0
    for layer in layers:
        try:
            node = read_layer(layer)
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
            best, best_depth = layer_name(layer), depth
    return best


def merge(base: Mapping[str, Any], override: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``base`` with ``override`` on top: mappings merge, everything else replaces.

    A mapping whose ``kind`` is a word replaces too, so that no option of one plug-in remains in another.
    (What a mapping of names, such as that of all studies, has under ``kind`` is a mapping itself.)
    """
    result = dict(base)
    for key, value in override.items():
        old = result.get(key)
        if isinstance(old, Mapping) and isinstance(value, Mapping) and not isinstance(value.get("kind"), str):
            result[key] = merge(old, value)
        else:
            result[key] = value
    return result
