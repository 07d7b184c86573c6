"""Datasets, each a reader of the native folder layout together with its metric.

    dataset = open_dataset("coco_2017", "data/coco", MetricConfig(classes=..., measures=("box", "mask")))
    dataset.images      -> list of DatasetImage(id, path), in the dataset's order
    dataset.classes, dataset.category_ids -> name and the dataset's own number of each label
    dataset.evaluate({image_id: Predictions, ...}) -> {"box_ap": 0.374, ...}

`evaluate` looks only at the images that it is given, so a part of a dataset is evaluated as if it were all of it.
Numbers are shares from 0 to 1. Every error names the file that was expected.
`catalog` lists what there is and opens it; each reader's module says which metric it computes and whose.
"""
