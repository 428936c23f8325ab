"""Comparative models of your own data: arrays or AnnData objects in, latents, scores and checks out."""
