"""From an image to network input."""
