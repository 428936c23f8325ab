"""Command lines of the jobs, one a rule."""

import gc
import sys

# A job is a process of its own, and this is the first module that it loads: Python still looks for the one to
# run. What libraries make while they load stays until the end, so a search for garbage among it is in vain.
if sys.argv[0] == "-m":
    gc.disable()
