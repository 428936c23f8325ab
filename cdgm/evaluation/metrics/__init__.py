"""Scores of fits: recovery and leakage, independence, cells, their nulls and closed forms."""
