"""Memory that was freed is found again without page faults."""

import platform
import subprocess
import sys

import pytest

SCRIPT = """
import resource, sys
from cdgm.training.heap import keep_freed_memory
if sys.argv[1] == "kept":
    keep_freed_memory()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(50):
        arrays = [bytearray(b"x") * 2**19 for _ in range(8)]
        del arrays
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc alone is set")
def test_freed_memory_is_kept():
    def faults(how):
        run = subprocess.run([sys.executable, "-c", SCRIPT, how], capture_output=True, text=True, check=True)
        return int(run.stdout)

    assert faults("kept") < 100 < faults("as it is")
