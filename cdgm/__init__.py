"""Comparative deep generative models: fit them, simulate data for them, judge them.

Importing the package is cheap. A name of the public table below is imported from its module on
first use, so that command lines and the workflow's configuration never wait for torch or scanpy.
"""

from __future__ import annotations

import importlib
from typing import Any

# Public name -> "module:name".
_PUBLIC: dict[str, str] = {
    "ComparativeModel": "cdgm.estimator.model:ComparativeModel",
    "check_latents": "cdgm.estimator.latent_check:check_latents",
    "choose_dimensions": "cdgm.estimator.selection.dimensions:choose_dimensions",
    "choose_level": "cdgm.estimator.selection.level:choose_level",
    "prune_dimensions": "cdgm.estimator.selection.pruning:prune_dimensions",
    "UserError": "cdgm.utils.errors:UserError",
}

__all__ = ["__version__", *sorted(_PUBLIC)]


def _version() -> str:
    """Version of the installed package, or of the source tree when it is used without an install."""
    from importlib import metadata

    try:
        return metadata.version("cdgm")
    except metadata.PackageNotFoundError:
        import tomllib
        from pathlib import Path

        try:
            project = tomllib.loads(
                (Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")
            )
            return project["project"]["version"]
        except (OSError, ValueError, KeyError):
            return "unknown"


def __getattr__(name: str) -> Any:
    """Import a public name on first use (PEP 562)."""
    if name == "__version__":
        value: Any = _version()
    elif name in _PUBLIC:
        module, attribute = _PUBLIC[name].split(":")
        value = getattr(importlib.import_module(module), attribute)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return sorted({*globals(), *__all__})
