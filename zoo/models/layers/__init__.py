"""Building blocks: convolutions, normalisation, operators."""
