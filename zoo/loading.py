"""From a model's name to a network: build, load, and load a file of the user's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import BuildError, CorruptCheckpoint
from zoo.manifest import api
from zoo.models.build import build_detector
from zoo.models.build_budget import Budget, limited
from zoo.models.detectors.base import Detector

if TYPE_CHECKING:
    from zoo.checkpoint import Checkpoint
    from zoo.preprocessing.preprocess import ImageSource
    from zoo.preprocessing.recipe import Preprocessing
    from zoo.structures import Sample


def build(name_or_spec: str | Mapping[str, Any]) -> Detector:
    """Build a network with random weights.

    Args:
        name_or_spec: The name of a model or of an architecture, or a description `{type: ..., backbone: ...}` (also as
            `{model: {...}, train_cfg: ...}`).

    Returns:
        The network with random weights, in eval mode, on the CPU. A description, or an architecture that no model
            uses, does not state how images are preprocessed; `preprocess` is then None.

    Raises:
        UnknownModel: No model or architecture has this name.
        BuildError: The description names a component or an argument that does not exist.

    Examples:
        >>> import zoo
        >>> model = zoo.build("demo_yolox")
        >>> sum(parameter.numel() for parameter in model.parameters())
        564331
    """
    if not isinstance(name_or_spec, str):
        return labeled(build_detector(unwrap(name_or_spec)), unwrap(name_or_spec))
    description = api.architecture(name_or_spec)
    try:
        model: Detector = build_detector(description)
    except BuildError as error:
        raise BuildError(f"{source_location(name_or_spec, description, error)}: {error}") from None
    labeled(model, description)
    if has_user(name_or_spec):
        model.preprocess = preprocessor(name_or_spec)
        model.classes = api.dataset(api.representative(name_or_spec).dataset).classes
    return model


def has_user(name: str) -> bool:
    """Whether a model says how images are prepared: the one of this name, or one with the architecture of this name."""
    known = api.catalog()
    return name in known.models or name in known.aliases or api.first_user(name) is not None


def labeled(model: Detector, description: Mapping[str, Any]) -> Detector:
    """`model`, knowing its description and how many labels that gives it."""
    model.description = description
    counts = {count for part in label_heads(description) if (count := labels_of(part)) is not None}
    model.label_count = counts.pop() if len(counts) == 1 else None
    return model


def label_heads(description: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The descriptions of the heads that label boxes or segments."""
    for path, part in parts(description):
        if path and any(key in ("bbox_head", "mask_head", "panoptic_head") for key in path):
            yield part


def labels_of(head: Mapping[str, Any]) -> int | None:
    """How many labels a head has; None for a part of it that does not say."""
    if isinstance(things := head.get("num_things_classes"), int):
        return None if head.get("num_stuff_classes") else things  # of panoptic labels, boxes have the first ones only
    count = head.get("num_classes")
    return count if isinstance(count, int) and "loss_weight" not in head else None


def preprocessor(name: str | Preprocessing) -> Callable[[ImageSource], Sample]:
    """Make the function that turns an image into the input of a model.

    Args:
        name: A model, an alias, an architecture, or a recipe.

    Returns:
        A function from a path, or a BGR uint8 array (H, W, 3), to a `Sample`. It raises UnreadableImage for a file that
        is missing or cannot be decoded.

    Raises:
        UnknownModel: No model or architecture has this name.

    Examples:
        >>> import numpy as np, zoo
        >>> sample = zoo.preprocessor("faster_rcnn_r50")(np.zeros((480, 640, 3), np.uint8))
        >>> sample.image.shape, sample.size  # resized to a shorter side of 800, then padded to multiples of 32
        (torch.Size([3, 800, 1088]), (800, 1067))
    """
    from zoo.preprocessing.preprocess import make_preprocessor

    return make_preprocessor(api.preprocessing(name) if isinstance(name, str) else name)


def unwrap(spec: Mapping[str, Any]) -> Mapping[str, Any]:
    """The detector's description, with `train_cfg` and `test_cfg` from beside it where they stand there."""
    if "model" not in spec:
        return spec
    beside = {k: spec[k] for k in ("train_cfg", "test_cfg") if spec.get(k) is not None}
    return {**beside, **spec["model"]}


def source_location(name: str, description: Mapping[str, Any], error: BuildError) -> str:
    """`file:line` of what an error is about, as exactly as the manifest can tell; the name itself otherwise."""
    paths = [path for path, part in parts(description) if part.get("type") == error.kind]
    locations = (api.where(name, [*path, key]) for path in paths for key in (error.field, "type") if key)
    return next((result for result in locations if result), name)


def parts(description: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Every mapping inside a description with its path."""
    if isinstance(description, Mapping):
        yield path, description
        for key, value in description.items():
            yield from parts(value, (*path, key))
    elif isinstance(description, (list, tuple)):
        for index, value in enumerate(description):
            yield from parts(value, (*path, index))


def load(name: str, device: str = "cpu") -> Detector:
    """Load a published model: fetch its weights, build the network, and load them strictly.

    Args:
        name: A model or an alias.
        device: Device of the network, such as `cpu` or `cuda:0`.

    Returns:
        The network in eval mode. `detect` runs it on files and arrays.

    Raises:
        UnknownModel: No model has this name.
        FetchError: No mirror served the file.
        UnsafeCheckpoint: The file requests something that is not on the allow-list.
        CorruptCheckpoint: The file is damaged, or contains weights that are NaN or infinite.
        MismatchedCheckpoint: The tensors do not belong to this network.

    Examples:
        >>> import numpy as np, zoo
        >>> model = zoo.load("demo_yolox")
        >>> detections = model.detect([np.zeros((128, 160, 3), np.uint8)])[0]
        >>> len(detections), model.classes
        (0, ('disk', 'square', 'triangle', 'cross'))
    """
    from zoo.checkpoint import read
    from zoo.download.fetch import fetch

    path = fetch(name)
    return fill(build_named(name), read(path), device)


def load_file(path: str | Path, name: str | None = None, device: str = "cpu") -> Detector:
    """Load a checkpoint file of your own: `.pth` of MMDetection of any age, `.pkl` of Detectron2, safetensors.

    Nothing stored in the file is executed.

    Args:
        path: The file.
        name: A model or an architecture. Without it, the architecture comes from the configuration in the checkpoint,
            or from the names of its tensors if the methods' authors or transformers use these names.
        device: Device of the network, such as `cpu` or `cuda:0`.

    Returns:
        The network in eval mode. Its classes are those listed in the checkpoint's metadata, if there are any.

    Raises:
        UnsafeCheckpoint: The file requests something that is not on the allow-list.
        CorruptCheckpoint: The file is damaged, or in no known format.
        MismatchedCheckpoint: The tensors do not belong to this network.
        UnknownModel: No model or architecture has this name.
        BuildError: The configuration in the file names components that do not exist here, or it has no configuration.

    Examples:
        >>> import zoo
        >>> path = zoo.fetch("demo_mask_rcnn")  # stands for a file of your own
        >>> zoo.load_file(path).classes
        ('disk', 'square', 'triangle', 'cross')
    """
    from zoo.checkpoint import read
    from zoo.checkpoint.config.mmdet_config import class_names

    if name is None:
        checkpoint = read(path)
        if (network := recognized(checkpoint)) is not None:
            return fill(network, checkpoint, device)
        if not has_configuration(checkpoint):
            raise BuildError(unnamed(path, checkpoint))
        return fill(build_from_meta(checkpoint.meta, sizes_of(checkpoint)), checkpoint, device)
    model = build_named(name)
    checkpoint = read(path)
    model.classes = class_names(checkpoint.meta, {}) or model.classes
    return fill(model, checkpoint, device)


def has_configuration(checkpoint: Checkpoint) -> bool:
    """Whether a file has a configuration of its own."""
    return bool(checkpoint.meta.get("config") or checkpoint.meta.get("cfg"))


def unnamed(path: str | Path, checkpoint: Checkpoint) -> str:
    """What to do with a file that does not say which network it belongs to, with the architectures it resembles."""
    from zoo.models.nearest import nearest_architectures

    likely = [f"{name} ({share:.0%} of the tensors)" for name, share in nearest_architectures(checkpoint)]
    near = f"nearest by its tensors: {', '.join(likely)}" if likely else "no architecture has tensors like its own"
    return f"{path} does not say which network it belongs to; pass the name of a model (--name NAME); {near}"


def recognized(checkpoint: Checkpoint) -> Detector | None:
    """The network of a file without a configuration, by the names that authors give their tensors; or None.

    Raises BuildError where several networks have these tensors and nothing tells which one it is.
    """
    from zoo.checkpoint.convert.to_transformers import labels_beside
    from zoo.models.recognized import description_of

    result = None if has_configuration(checkpoint) else description_of(checkpoint)
    if result is None:
        return None
    name, description = result
    if description == api.architecture(name):
        return build_named(name)
    network = build(description)
    network.preprocess = preprocessor(name)
    network.classes = labels_beside(checkpoint.path)[: network.label_count] if checkpoint.path else ()
    return network


def fill(model: Detector, checkpoint: Checkpoint, device: str) -> Detector:
    """The network with a checkpoint's weights, strictly, on a device."""
    from zoo.checkpoint import load_into

    load_into(model, checkpoint, assign=True)
    require_finite(model, checkpoint.path)
    return model.to(device).eval()


def require_finite(model: Detector, path: Path | None) -> None:
    """Raise CorruptCheckpoint for a weight or a running statistic that is NaN or infinite."""
    statistics = ((name, value) for name, value in model.named_buffers() if ".running_" in name)
    for name, value in chain(model.named_parameters(), statistics):
        if not value.isfinite().all():
            raise CorruptCheckpoint(f"{path or 'the checkpoint'}: {name} has values that are NaN or infinite.")


def build_named(name: str) -> Detector:
    """A network by name, with what its published weights need on top of the architecture."""
    model = build(name)
    set_receptive_fields(model, name)
    return model


def set_receptive_fields(model: Detector, name: str) -> None:
    """The dilations that a model's published weights need on top of its architecture, where there are any."""
    from zoo.models.rfnext import dilate

    known = api.catalog()
    fields = api.get(name).receptive_fields if name in known.models or name in known.aliases else None
    if fields is not None:
        dilate(model, fields.dilations, fields.skip, fields.branches)


def sizes_of(checkpoint: Checkpoint) -> list[int]:
    """The number of elements of each tensor."""
    return [tensor.numel() for tensor in checkpoint.state_dict.values()]


def build_from_meta(meta: Mapping[str, Any], sizes: Sequence[int]) -> Detector:
    """The network that a checkpoint's own config text describes, with its test pipeline and class names.

    sizes: elements of the checkpoint's tensors. What needs more parameters or layers than those is not a description of
    the file, and is refused before it takes memory. Raises BuildError, CorruptCheckpoint.
    """
    from zoo.checkpoint.config.mmdet_config import describe
    from zoo.models.unsupported import unsupported

    config = describe(meta, unsupported)
    with limited(Budget.of_tensors(sizes)):
        model = labeled(build_detector(config.model), config.model)
    model.preprocess = preprocessor(config.preprocessing)
    model.classes = config.classes
    return model
