"""Real cells: downloads, readers, filters, gene choice, known effects, and the data set that fits read."""
