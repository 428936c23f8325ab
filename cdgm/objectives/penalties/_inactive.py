"""The inactive blocks of a design, for the penalties on them."""

from __future__ import annotations

from cdgm.config.design import Design


def inactive_blocks(design: Design) -> list[tuple[str, str]]:
    """Each (source, block) of which the source does not have the block."""
    return [(s, block) for s in design.sources for block in design.blocks if block not in design.active(s)]


def check_inactive(kind: str, design: Design) -> None:
    """Refuse a design in which every block is active everywhere."""
    if not inactive_blocks(design):
        raise ValueError(f"penalty {kind!r} looks at inactive blocks, but all are active in every source")
