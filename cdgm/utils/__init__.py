"""Tools without any knowledge of models or data: errors, files, random streams, registries, progress."""
