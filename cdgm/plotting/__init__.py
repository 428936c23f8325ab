"""What figures share: theme, labels, strips, curves, frames, scales, and saving."""
