"""Designs: which latent blocks are active in which source.

The contrastive design has sources ``background`` and ``target``, a block shared by both and a salient
block active in the target only. All other code works from a :class:`Design`, so that more sources or
blocks are a config entry and not a second code path.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field, StringConstraints, model_validator

from cdgm.utils.errors import shown
from cdgm.utils.registry import Strict, distinct

# Names become parts of the names of arrays, where "/" separates, and of joint scores, where
# cdgm.utils.joint_names.JOINT does; those of blocks also become parts of parameters, where "." separates.
SOURCE_NAME, LONGEST_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$", 60
SourceName = Annotated[str, StringConstraints(pattern=SOURCE_NAME, max_length=LONGEST_NAME)]
BlockName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_+-]*$", max_length=60)]


class Design(Strict):
    """Sources and the blocks active in each.

    Attributes
    ----------
    sources
        Names of the sources; their order is the order of rows in a batch and of axes in tables.
    blocks
        For each block, the sources in which it is active; the order of blocks is their order in the
        decoder's input. An inactive block enters the decoder as zeros and has no KL term.
    """

    sources: tuple[SourceName, ...] = Field(min_length=1, max_length=1_000)
    blocks: dict[BlockName, tuple[SourceName, ...]] = Field(min_length=1, max_length=1_000)

    @model_validator(mode="after")
    def _check(self) -> Design:
        if len(set(self.sources)) != len(self.sources):
            raise ValueError(f"sources are named twice: {shown(list(self.sources))}")
        for block, active in self.blocks.items():
            unknown = sorted(set(active) - set(self.sources))
            if unknown:
                raise ValueError(f"block {block!r} is active in unknown sources {shown(unknown)}")
            distinct(active)
            if not active:
                raise ValueError(f"block {block!r} is active in no source")
        for source in self.sources:
            if not self.active(source):
                raise ValueError(f"source {source!r} has no active block")
        return self

    def active(self, source: str) -> tuple[str, ...]:
        """Blocks active in ``source``, in decoder order."""
        return tuple(block for block, sources in self.blocks.items() if source in sources)

    def comparisons(self, block: str) -> list[tuple[str, str]]:
        """Ordered pairs of the sources of a block, the first of which has a block that the second lacks.

        What belongs to that other block can move into this one, where it varies in the first source only.
        """
        driven = [source for source in self.sources if source in self.blocks[block]]
        return [(a, b) for a in driven for b in driven if set(self.active(a)) - set(self.active(b))]

    def check_dims(self, dims: dict[str, int], what: str) -> None:
        """Refuse dimensions that do not name exactly this design's blocks."""
        if set(dims) != set(self.blocks):
            known = shown(sorted(self.blocks))
            raise ValueError(f"{what} names blocks {shown(sorted(dims))}, the design has {known}")

    def check_twist(self, block: str, by: str, dims: Mapping[str, int], what: str) -> None:
        """Refuse a twist of unknown blocks, and one that turns nothing, with a ValueError.

        Parameters
        ----------
        block, by
            The block that is turned, and the one whose norm sets the angle.
        dims
            Dimension of each block.
        what
            What has the twist, for the message.
        """
        for name in (block, by):
            if name not in self.blocks:
                known = shown(sorted(self.blocks))
                raise ValueError(f"{what} names block {shown(name)}, the design has {known}")
        if block == by:
            raise ValueError(f"{what} turns block {block!r} by itself, expected two blocks")
        if dims[block] < 2:
            raise ValueError(f"{what} turns block {block!r} of one dimension, expected two or more")
        if not set(self.blocks[block]) & set(self.blocks[by]):
            raise ValueError(f"{what} turns nothing: no source has both {block!r} and {by!r}")

    def contrast(self) -> tuple[str, str, str]:
        """The first private block, its source, and the first source to compare that one with.

        Raises
        ------
        ValueError
            If no block belongs to one source alone, or there is one source only.
        """
        for block, sources in self.blocks.items():
            others = [source for source in self.sources if source not in sources]
            if len(sources) == 1 and others:
                return block, sources[0], others[0]
        raise ValueError("no block of the design belongs to one of several sources alone")
