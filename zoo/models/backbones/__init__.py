"""Image to feature maps."""
