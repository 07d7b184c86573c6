"""COCO's results format."""
