"""Registry of starts: where training begins in place of random weights."""

from cdgm.utils.registry import Registry

STARTS = Registry("start", {"truth": "cdgm.training.starts.truth:Truth"})
