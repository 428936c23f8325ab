"""How regrets of a study are measured: the config type."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

from cdgm.utils.registry import Strict, distinct


class RegretSpec(Strict):
    """Fits from which regrets are measured (:mod:`cdgm.evaluation.regret`).

    Attributes
    ----------
    reference
        Variant of the study with the combiner ``single``, at the place of every source.
    front
        Variants of the study whose points are fixed weights of two sources, for gains over their front.
    """

    reference: str
    front: Annotated[tuple[str, ...], AfterValidator(distinct)] = ()
