"""What exists: manifest files as validated, frozen entries."""
