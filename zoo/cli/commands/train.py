"""`zoo train`: fine-tune or train a detector on a folder in COCO's format."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.cli.argument_types import natural, positive
from zoo.cli.parser import nearest
from zoo.errors import DataError, UsageError
from zoo.manifest import api
from zoo.settings import process
from zoo.training.layout import find, learns_keypoints

if TYPE_CHECKING:
    from zoo.training.config import TrainConfig
    from zoo.training.recipe import Recipe

SCHEDULES = ("1x", "2x", "3x")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.epilog = "Under `torchrun --nproc_per_node N --no-python zoo train ...` N processes share the work."
    data = parser.add_argument_group("data and weights")
    data.add_argument("name", help="a model or an architecture; the number of classes comes from the annotations")
    data.add_argument("--data", type=Path, metavar="DIR", help="a folder in COCO's layout, with a split `train`")
    data.add_argument("--annotations", type=Path, metavar="FILE", help="annotation file, instead of --data")
    data.add_argument("--images", type=Path, metavar="DIR", help="image folder, instead of --data")
    unlabeled = "a folder of images without annotations, from which Soft Teacher learns too"
    data.add_argument("--unlabeled", type=Path, metavar="DIR", help=unlabeled)
    semantic = "PNG files of all pixels' classes, such as stuffthingmaps/train2017, for HTC, SCNet and Panoptic FPN"
    data.add_argument("--semantic", type=Path, metavar="DIR", help=semantic)
    help_text = "published (default), backbone, a backbone's key, scratch, or a checkpoint file"
    data.add_argument("--start", default="published", metavar="WHAT", help=help_text)
    data.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for log, states and checkpoint")
    data.add_argument("--title", metavar="NAME", help="name of the published file, without its hash")
    data.add_argument("--resume", action="store_true", help="resume from DIR/latest.pth if it exists")
    add_recipe_options(parser)
    add_machine_options(parser)
    parser.add_argument("--json", action="store_true", help="print {path, sha256} instead of the path")


def add_recipe_options(parser: argparse.ArgumentParser) -> None:
    """What is learned how fast; by default as the reference trained the family."""
    how = parser.add_argument_group("recipe (by default the family's own)")
    length = how.add_mutually_exclusive_group()
    length.add_argument("--schedule", choices=SCHEDULES, help="12, 24 or 36 epochs")
    length.add_argument("--epochs", type=positive, metavar="N", help="number of epochs")
    how.add_argument("--optimizer", choices=("SGD", "AdamW"), help="optimizer")
    how.add_argument("--lr", type=float, metavar="X", help="learning rate; not scaled to the batch size")
    how.add_argument("--weight-decay", type=float, metavar="X", help="weight decay")
    how.add_argument("--decay", choices=("step", "cosine", "flat_cosine", "constant"), help="learning rate schedule")
    how.add_argument("--warmup", type=natural, metavar="N", help="iterations of linear warm-up")
    how.add_argument("--clip", type=float, metavar="NORM", help="clip gradients to this norm")
    how.add_argument("--ema", type=float, metavar="M", help="publish an exponential moving average with this momentum")
    burn_in = "iterations before the first that learns from images without annotations (Soft Teacher; default 0)"
    how.add_argument("--burn-in", type=natural, metavar="N", help=burn_in)
    how.add_argument("--scales", nargs="+", type=scale, metavar="WxH", help="train at these scales")
    how.add_argument("--scale-mode", choices=("value", "range"), help="value: one of the scales; range: any in between")
    how.add_argument("--photometric", action="store_true", default=None, help="distort colors, as SSD does")
    how.add_argument("--mosaic", action=argparse.BooleanOptionalAction, help="combine four images into one (YOLOX)")
    how.add_argument("--mixup", action=argparse.BooleanOptionalAction, help="blend two images (YOLOX)")
    how.add_argument("--plain-epochs", type=natural, metavar="N", help="number of final epochs without mosaic")


def add_machine_options(parser: argparse.ArgumentParser) -> None:
    """How the machine is used."""
    machine = parser.add_argument_group("machine")
    machine.add_argument("--batch-size", type=positive, default=2, metavar="N", help="images per process (default 2)")
    machine.add_argument("--accumulate", type=positive, default=1, metavar="N", help="batches per optimizer step")
    machine.add_argument("--precision", choices=("fp32", "fp16", "bf16"), default="fp32", help="precision (fp32)")
    machine.add_argument("--device", default="cpu", help="cpu, cuda, ... (default %(default)s)")
    machine.add_argument("--workers", type=natural, default=0, metavar="N", help="worker processes that load images")
    machine.add_argument("--seed", type=natural, default=0, metavar="N", help="random seed (default 0)")
    machine.add_argument("--log-every", type=positive, default=50, metavar="N", help="iterations between log lines")
    machine.add_argument(
        "--save-every", type=natural, default=1, metavar="N", help="epochs between saved states; 0: never"
    )
    machine.add_argument(
        "--validate-every",
        type=natural,
        default=0,
        metavar="N",
        help="epochs between evaluations on `val`",
    )


def scale(text: str) -> tuple[int, int]:
    """(1333, 800) from `1333x800`."""
    width, _, height = text.partition("x")
    return positive(width), positive(height)


def run(args: argparse.Namespace) -> None:
    """Train, and print where the checkpoint is."""
    check(args)
    from zoo.training.fit import train  # imports torch

    path = train(config_of(args))
    if path is None:
        return
    if args.json:
        from hashlib import sha256

        print(json.dumps({"path": str(path), "sha256": sha256(path.read_bytes()).hexdigest()}))
    else:
        print(path)


def check(args: argparse.Namespace) -> None:
    """Whether names and files exist. Raises UnknownModel, UsageError, DataError."""
    kind = kind_of(args.name)
    annotations, images = data_of(args, kind)
    if not annotations.is_file():
        raise DataError(f"--annotations {annotations} does not exist.")
    if not images.is_dir():
        raise DataError(f"--images {images} is not a folder.")
    if args.validate_every:
        if args.data is None:
            raise UsageError("--validate-every needs --data, with a split `val`.")
        find(args.data, "val", kind)
    if args.unlabeled is not None and not args.unlabeled.is_dir():
        raise UsageError(f"--unlabeled {args.unlabeled} is not a folder.")
    if args.semantic is not None and not args.semantic.is_dir():
        raise UsageError(f"--semantic {args.semantic} is not a folder.")
    known = ("published", "backbone", "scratch", *api.catalog().backbones)
    if args.start not in known and not Path(args.start).is_file():
        raise UsageError(f"--start {args.start} is neither a file nor a backbone.{nearest(args.start, known)}")


def kind_of(name: str) -> str:
    """The beginning of the annotation file's name. Raises UnknownModel."""
    return "person_keypoints" if learns_keypoints(api.architecture(name)) else "instances"


def config_of(args: argparse.Namespace) -> TrainConfig:
    """The training that the options describe. Raises UsageError, UnknownModel, DataError."""
    from zoo.training.config import TrainConfig

    kind = kind_of(args.name)
    annotations, images = data_of(args, kind)
    return TrainConfig(
        name=args.name,
        annotations=annotations,
        images=images,
        out=args.out,
        start=args.start,
        recipe=recipe_of(args),
        batch_size=args.batch_size,
        accumulate=args.accumulate,
        precision=args.precision,
        device=args.device,
        workers=args.workers,
        seed=args.seed,
        resume=args.resume,
        log_every=args.log_every,
        save_every=args.save_every,
        validation=find(args.data, "val", kind) if args.validate_every else None,
        validate_every=args.validate_every,
        unlabeled=args.unlabeled,
        semantic=args.semantic,
        title=args.title,
    )


def data_of(args: argparse.Namespace, kind: str) -> tuple[Path, Path]:
    """(annotation file, folder of images) to train on. kind: of the annotation file in a folder."""
    if args.data is not None:
        given = [f"--{option}" for option in ("annotations", "images") if getattr(args, option) is not None]
        if given:
            raise UsageError(f"--data says where annotations and images are; leave it or {' and '.join(given)} out.")
        return find(args.data, kind=kind)
    if args.annotations is None or args.images is None:
        raise UsageError("Say what to train on: --data, or --annotations and --images.")
    return args.annotations, args.images


def recipe_of(args: argparse.Namespace) -> Recipe:
    """The model's own recipe with the options' changes."""
    from zoo.training import recipe

    own = recipe.default(api.architecture(args.name), api.representative(args.name).training)
    images = recipe.overridden(
        own.augmentation,
        scales=None if args.scales is None else tuple(args.scales),
        mode=args.scale_mode,
        photometric=args.photometric,
        mosaic=args.mosaic,
        mixup=args.mixup,
        plain_epochs=args.plain_epochs,
    )
    epochs = recipe.SCHEDULES[args.schedule] if args.schedule else args.epochs
    step = None if args.lr is None else images_per_step(args)
    return recipe.overridden(
        own,
        epochs=epochs,
        optimizer=args.optimizer,
        learning_rate=args.lr,
        batch=step,
        weight_decay=args.weight_decay,
        decay=args.decay,
        warmup=args.warmup,
        clip=args.clip,
        ema=args.ema,
        burn_in=args.burn_in,
        augmentation=images,
    )


def images_per_step(args: argparse.Namespace) -> int:
    """Over all processes; a learning rate that is given is meant for these."""
    return args.batch_size * args.accumulate * process().world
