"""Training of a replicate stack: loop, optimiser, history, batches, device."""
