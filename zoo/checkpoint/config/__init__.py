"""The configuration stored in a checkpoint, parsed as literals and never executed."""
