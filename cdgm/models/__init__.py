"""The network: stacks of comparative VAEs, their likelihoods, queries of a trained stack, checkpoints."""
