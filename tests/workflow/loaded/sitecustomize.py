"""On the path of jobs in tests: each notes, when it ends, which modules of ours it has loaded."""

import atexit
import json
import os
import sys
from pathlib import Path

FOLDER = os.environ.get("CDGM_TEST_LOADED", "")


def note() -> None:
    """One file a process, named by its number."""
    if FOLDER and Path(sys.argv[0]).parent.name == "workflow_scripts":
        names = sorted(name for name in sys.modules if name.split(".")[0] == "cdgm")
        text = json.dumps({"arguments": sys.argv, "modules": names})
        Path(FOLDER, f"{os.getpid()}.json").write_text(text, encoding="utf-8")


atexit.register(note)
