"""The figures of the studies, one module each."""
