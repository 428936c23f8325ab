"""Variants, settings and data sets that the package installs: a copy of those in ``config.yaml``.

``python -m cdgm.estimator.defaults > cdgm/estimator/defaults.json`` in a checkout writes the copy
anew; a test fails when the two drift apart.
"""

from __future__ import annotations

import json
import sys
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from cdgm.config.fit import VariantSpec
from cdgm.config.layers import merge
from cdgm.config.yaml_file import read_yaml
from cdgm.utils.registry import sweeps

#: Study whose settings are those for many cells.
MANY_CELLS = "papalexi2021"
KEPT = ("model", "training", "evaluation")


@cache
def defaults() -> dict[str, Any]:
    """Return the copy: ``design``, ``variants``, ``arrays``, ``cells``, ``many_cells``, data sets."""
    return json.loads(resources.files("cdgm.estimator").joinpath("defaults.json").read_text(encoding="utf-8"))


def variant_names() -> list[str]:
    """Names of the variants, simple ones first."""
    return list(defaults()["variants"])


def from_config(config: dict[str, Any]) -> dict[str, Any]:
    """The copy that belongs to a config, without variants that sweep or fit several times."""
    protocols = config["protocols"]
    (setting,) = config["studies"][MANY_CELLS]["settings"].values()
    cells = {key: protocols["cells"][key] for key in KEPT}
    return {
        "design": config["designs"]["contrastive"],
        "variants": {
            name: value
            for name, value in config["variants"].items()
            if "procedure" not in value and not list(sweeps(VariantSpec.model_validate(value)))
        },
        "arrays": {key: protocols["simulation"][key] for key in KEPT},
        "cells": cells,
        "root_seed": config["root_seed"],
        "downloads": config["downloads"],
        "datasets": config["datasets"],
        "many_cells": merge(cells, {key: setting[key] for key in KEPT if key in setting}),
    }


if __name__ == "__main__":
    root = Path(__file__).parents[2]
    json.dump(from_config(read_yaml(root / "config.yaml")), sys.stdout, indent=2)
    print()
