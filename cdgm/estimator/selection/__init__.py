"""Model selection: how many dimensions each block gets, and how strongly a variant constrains the blocks."""
