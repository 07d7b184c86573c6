"""How near a network's speed is to what the machine can do, layer by layer (Williams et al., Roofline, 2009)."""
