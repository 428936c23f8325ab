"""Simulated comparative data with known latents."""
