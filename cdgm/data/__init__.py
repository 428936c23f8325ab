"""Real cells: downloads, readers, filters, choice of genes, known effects, and the data set that fits read."""
