"""Other libraries as rivals in the same run."""
