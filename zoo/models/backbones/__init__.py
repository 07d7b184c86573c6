"""Picture to feature maps."""
