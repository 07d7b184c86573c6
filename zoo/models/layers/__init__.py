"""Building blocks: convolutions, normalization, operators."""
