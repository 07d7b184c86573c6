"""Box coders: how a network's regression outputs stand for boxes."""
