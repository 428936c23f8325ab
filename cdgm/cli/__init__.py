"""The command ``cdgm``: one module a subcommand; each imports what is slow only when it runs."""

import os

# Before numpy is loaded, which reads them once. Operations are small: threads of a library would wait for
# each other at each of them, and members of a fit have cores of their own.
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
# Commands write files and open no window; matplotlib cannot be imported with a name that it does not know.
os.environ["MPLBACKEND"] = "Agg"
