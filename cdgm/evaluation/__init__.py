"""Scores of a fit: metrics, baselines, ceilings, and the tables of a study."""
