"""Feature maps to feature pyramids."""
