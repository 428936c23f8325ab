"""Faults for fits: Python imports this by itself in every process whose PYTHONPATH holds this folder.

``$CDGM_TEST_FAULTS`` is a folder with files named ``<fit>.<fault>``. A fit without one is left alone, and so
are all other processes.
"""

import os
import sys
import time

FAULTS = os.environ.get("CDGM_TEST_FAULTS")
MEGABYTE = 1 << 20


def fault(kind: str) -> bool:
    """Whether this process is a fit that is to have this fault."""
    return os.path.exists(os.path.join(FAULTS, f"{fit}.{kind}"))


if FAULTS and "workflow_scripts.fit" in sys.orig_argv:
    fit = os.path.basename(sys.orig_argv[sys.orig_argv.index("--out-dir") + 1])
    if fault("memory"):
        # More than the rule asks for at its first attempt, less than at its second. Every page is written to.
        hoard = bytearray(b"\1") * (2_000 * MEGABYTE)
        time.sleep(10)
        del hoard
    if fault("fail"):
        print("error: a fault of the test", file=sys.stderr)
        sys.stderr.flush()
        os._exit(2)
    if fault("slow"):
        with open(os.path.join(FAULTS, f"{fit}.at_work"), "w", encoding="utf-8") as file:
            file.write(os.environ["SLURM_JOB_ID"])
        time.sleep(600)
