"""The JSON schema of the config for editors, made from its types and from the registered plug-ins.

``python -m cdgm.config.json_schema > config.schema.json`` writes it. The workflow does not need it:
there the types check the config.
"""

from __future__ import annotations

import json
from typing import Any

from cdgm.config.study import Config


def config_schema() -> dict[str, Any]:
    """JSON schema (draft 2020-12) of ``config.yaml`` with all overlays merged."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | Config.model_json_schema()


if __name__ == "__main__":
    print(json.dumps(config_schema(), indent=2, sort_keys=True))
