"""Dense masks and panoptic segmentation."""
