"""Which figures there are. Light: matplotlib is imported only when a figure is loaded."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cdgm.utils.errors import bad_input


def figure_names() -> list[str]:
    """Names of all figures: the modules beside this one that define ``draw``."""
    # The source is searched and not imported, so that checking a config stays light.
    modules = sorted(Path(__file__).parent.glob("*.py"))
    return [m.stem for m in modules if "\ndef draw(" in m.read_text(encoding="utf-8")]


def needs_costs(name: str) -> bool:
    """Whether a figure draws from the table of costs: its module then says ``COSTS = True``."""
    return "\nCOSTS = True\n" in (Path(__file__).parent / f"{name}.py").read_text(encoding="utf-8")


def load_figure(name: str) -> Callable[..., Any]:
    """The ``draw`` function of a figure.

    Raises
    ------
    UserError
        If there is no such figure.
    """
    if name not in figure_names():
        raise bad_input("figures", "name", name, f"one of {figure_names()}")
    return importlib.import_module(f"cdgm.plotting.{name}").draw
