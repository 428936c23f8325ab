"""Pages from the templates beside this module, which escape text unless they call it safe."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

TEMPLATES = Path(__file__).with_name("templates")


def render(template: str, **values: object) -> str:
    """Fill a template.

    Parameters
    ----------
    template
        File name in ``cdgm/reports/templates``.
    values
        Names that the template uses. A missing name is an error, not an empty string.
    """
    return _environment().get_template(template).render(**values)


def number(value: float) -> str:
    """Format a number to three significant digits with a true minus sign; a dash where it is not finite."""
    if not math.isfinite(value):
        return "–"
    text = f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    return text.replace("-", "−")


def bound(relation: str, value: float) -> str:
    """Format the side of a value that counts, such as ``≥ 0.9``."""
    return f"{'≥' if relation == 'at_least' else '≤'} {number(value)}"


def many(n: int, what: str) -> str:
    """Format a count with its noun: ``1 fit``, ``2,000 fits``."""
    return f"{n:,} {what}{'' if n == 1 else 's'}"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"number": number, "many": many}
    environment.globals |= {"bound": bound}
    return environment
