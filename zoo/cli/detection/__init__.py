"""What `zoo detect` reads and writes: images, videos and cameras; tables, CSV, COCO, YOLO and drawings."""
