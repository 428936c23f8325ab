"""Pages that people read: plain HTML without scripts, fonts or anything else from a network."""
