"""Configurations as MMDetection 2.x and 3.x write them into checkpoints: a model, and everything else around it."""

from __future__ import annotations

MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
CLASSES = ("car", "bus", "van")
LOAD_V3 = {"type": "LoadImageFromFile", "backend_args": None}
PACK_V3 = [
    {"type": "LoadAnnotations", "with_bbox": True},
    {"type": "PackDetInputs", "meta_keys": ("img_id", "img_path", "ori_shape", "img_shape", "scale_factor")},
]
PIPELINE_V3 = [LOAD_V3, {"type": "Resize", "scale": (1333, 800), "keep_ratio": True}, *PACK_V3]


def text(value):
    """A value as `Config.pretty_text` prints it, up to line breaks."""
    if isinstance(value, dict):
        return f"dict(\n    {', '.join(f'{key}={text(item)}' for key, item in value.items())})"
    if isinstance(value, list):
        return f"[{', '.join(map(text, value))}]"
    if isinstance(value, tuple):
        return f"({''.join(text(item) + ', ' for item in value)})"
    return repr(value)


def dump(**config):
    return "".join(f"{key} = {text(value)}\n" for key, value in config.items())


def pipeline_v2(scale=(1333, 800), mean=MEAN, std=STD, to_rgb=True, pad=None):
    norm = [] if mean is None else [{"type": "Normalize", "mean": mean, "std": std, "to_rgb": to_rgb}]
    steps = [
        {"type": "Resize", "keep_ratio": True},
        {"type": "RandomFlip"},
        *norm,
        pad or {"type": "Pad", "size_divisor": 32},
        {"type": "ImageToTensor", "keys": ["img"]},
        {"type": "Collect", "keys": ["img"]},
    ]
    outer = {"type": "MultiScaleFlipAug", "img_scale": scale, "flip": False, "transforms": steps}
    return [{"type": "LoadImageFromFile"}, outer]


def v2(model, pipeline=None, classes=CLASSES):
    """A dump of 2.28, with what a training run puts around the model."""
    pipeline = pipeline or pipeline_v2()
    source = {"type": "CocoDataset", "ann_file": "b.json", "img_prefix": "x/", "classes": classes, "pipeline": pipeline}
    augmented = {"type": "RepeatDataset", "times": 3, "dataset": {**source, "pipeline": [{"type": "OwnMixup"}]}}
    around = dump(
        dataset_type="CocoDataset",
        data={"samples_per_gpu": 2, "train": augmented, "val": source, "test": source},
        evaluation={"interval": 1, "metric": "bbox"},
        optimizer={"type": "SGD", "lr": 0.02, "momentum": 0.9, "weight_decay": 0.0001},
        lr_config={"policy": "step", "warmup": "linear", "step": [8, 11]},
        custom_hooks=[{"type": "OwnHook"}],
        load_from="checkpoints/x.pth",
        workflow=[("train", 1)],
        model=model,
        work_dir="./work_dirs/x",
    )
    return around + "gpu_ids = range(0, 1)\n"


def preprocessor_v3(mean=MEAN, std=STD, bgr_to_rgb=True, **settings):
    kind = {"type": "DetDataPreprocessor", "mean": mean, "std": std, "bgr_to_rgb": bgr_to_rgb, "pad_size_divisor": 32}
    return kind | settings


def v3(model, pipeline=None, classes=CLASSES, preprocessor=None):
    """A dump of 3.x, with what the runner puts around the model."""
    palette = [(220, 20, 60)] * len(classes)
    source = {
        "type": "CocoDataset",
        "ann_file": "b.json",
        "data_prefix": {"img": "x/"},
        "metainfo": {"classes": classes, "palette": palette},
        "pipeline": pipeline or PIPELINE_V3,
    }
    loader = {"batch_size": 1, "sampler": {"type": "DefaultSampler", "shuffle": False}, "dataset": source}
    repeated = {"type": "ConcatDataset", "datasets": [{**source, "pipeline": [{"type": "OwnMixup"}]}]}
    return dump(
        default_hooks={"checkpoint": {"interval": 1, "type": "CheckpointHook"}},
        default_scope="mmdet",
        env_cfg={"cudnn_benchmark": False, "dist_cfg": {"backend": "nccl"}},
        launcher="none",
        model={**model, "data_preprocessor": preprocessor or preprocessor_v3()},
        optim_wrapper={"type": "OptimWrapper", "optimizer": {"type": "SGD", "lr": 0.02}},
        param_scheduler=[{"begin": 0, "by_epoch": False, "end": 500, "type": "LinearLR"}],
        test_cfg={"type": "TestLoop"},
        test_dataloader=loader,
        test_pipeline=pipeline or PIPELINE_V3,
        train_cfg={"max_epochs": 12, "type": "EpochBasedTrainLoop", "val_interval": 1},
        train_dataloader={"batch_size": 2, "dataset": repeated},
        visualizer={"type": "DetLocalVisualizer", "vis_backends": [{"type": "LocalVisBackend"}]},
    )
