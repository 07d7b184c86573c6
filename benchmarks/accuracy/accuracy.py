"""From a model's name to a record of its accuracy, with everything chosen as it was published."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import zoo
from benchmarks.accuracy import published_metrics
from benchmarks.accuracy.config import DEFAULT_DATASET, TASK_MEASURES, EvalConfig
from benchmarks.datasets.catalog import open_dataset, spec
from benchmarks.datasets.request import MetricConfig
from benchmarks.datasets.spec import Spec
from benchmarks.results.record import Record
from benchmarks.speed import foreign, runtimes, targets
from benchmarks.speed.targets import Target
from zoo.cli.checkpoint_files import means_file
from zoo.errors import UnknownModel, UsageError, ZooError
from zoo.export.formats import means_exported

if TYPE_CHECKING:
    from benchmarks.accuracy.measure import Accuracy
    from benchmarks.datasets.dataset import Dataset
    from zoo.models.detectors.base import Detector


@dataclass(frozen=True)
class Evaluation:
    """An evaluation whose arguments, names and files have been checked, before anything was built.

    request, dataset: None for a checkpoint file without a name, whose network must be built to know what it detects.
    """

    config: EvalConfig
    target: Target
    spec: Spec
    request: MetricConfig | None
    dataset: Dataset | None


def evaluate(name: str, config: EvalConfig | None = None, progress: bool | None = None) -> Record | None:
    """The accuracy of `name`, a model of the zoo or a checkpoint file; None on other ranks than 0 under torchrun.

    Raises ZooError for whatever is missing or does not fit, before anything is written.
    """
    return run(prepare(name, config), progress=progress)


def prepare(name: str, config: EvalConfig | None = None) -> Evaluation:
    """Check and open what an evaluation needs; the network is not built, and torch is not imported.

    Raises ZooError for whatever is missing or does not fit.
    """
    config = config or EvalConfig()
    check_output(config.results_json)
    target, entry = choose(name, config)
    chosen = spec(config.dataset or (entry.dataset if entry else target.dataset) or DEFAULT_DATASET)
    chosen.require_root(Path(config.data or chosen.root))
    if entry is None:
        return Evaluation(config, target, chosen, None, None)
    # What is published about a model says what to ask, so that a wrong folder is noticed before a download.
    request = request_of(config, chosen, *known(entry))
    return Evaluation(config, target, chosen, request, opened(config, chosen, request))


def opened(config: EvalConfig, chosen: Spec, request: MetricConfig) -> Dataset:
    """The dataset, and nothing in the way of the results."""
    check_panoptic_output(config.results_json, request)
    dataset = open_dataset(chosen.name, Path(config.data or chosen.root), request)
    if config.detail is not None:
        from benchmarks.accuracy import detail  # imports torch

        detail.check(config.detail, dataset, request.measures)
    return dataset


def run(evaluation: Evaluation, device: str | None = None, progress: bool | None = None) -> Record | None:
    """The record of a prepared evaluation. device: by default the one of its configuration."""
    from benchmarks.accuracy import measure

    if device is not None:
        evaluation = replace(evaluation, config=replace(evaluation.config, device=device))
    config, model = evaluation.config, checked_labels(evaluation.target.load())
    request, dataset = completed(evaluation, model)
    model = with_augmentation(model, evaluation)
    result = measure.measure(
        model.to(config.device).eval(),
        dataset,
        device=config.device,
        batch_size=config.batch_size,
        workers=config.workers,
        limit=config.limit,
        progress=progress,
    )
    if result is None:
        return None
    write_files(config, dataset, request, result, config.title or evaluation.target.name)
    return record(evaluation, request, result, model)


def completed(evaluation: Evaluation, model: Detector) -> tuple[MetricConfig, Dataset]:
    """The request and the dataset of an evaluation, which for a file without a name depend on the network."""
    request, dataset = evaluation.request, evaluation.dataset
    if request is None or dataset is None:
        request = request_of(evaluation.config, evaluation.spec, *guess(model))
        if request.classes is None:
            request = replace(request, outputs=model.label_count)
        dataset = opened(evaluation.config, evaluation.spec, request)
    return request, dataset


def with_augmentation(model: Detector, evaluation: Evaluation) -> Detector:
    """The network, with test-time augmentation if the configuration has it. Raises UsageError."""
    config = evaluation.config
    if not config.tta:
        return model
    if config.runtime not in (None, "torch"):
        raise UsageError("--tta is for networks run by PyTorch; leave --runtime out.")
    from benchmarks.accuracy.augmentation import augmented

    return augmented(model, evaluation.target.name, config)


def write_files(config: EvalConfig, dataset: Dataset, request: MetricConfig, result: Accuracy, title: str) -> None:
    """The files that the configuration asks for: detections, and the details of the evaluation."""
    from benchmarks.accuracy import detail, measure

    if config.results_json is not None:
        measure.write_results(dataset, result.predictions, config.results_json)
    if config.detail is not None:
        coco = detail.check(config.detail, dataset, request.measures)
        detections = coco.numbered(result.predictions)
        detail.write(config.detail, coco, coco.source(detections), list(detections), title)


def record(evaluation: Evaluation, request: MetricConfig, result: Accuracy, model: Detector) -> Record:
    """The record of an evaluation, with the intervals of its accuracies."""
    from benchmarks.accuracy import uncertainty
    from benchmarks.speed.inference import artifact_of
    from benchmarks.system import environment

    config, chosen, target = evaluation.config, evaluation.spec, evaluation.target
    sure = uncertainty.uncertainty(result.metrics, result.resampled)
    result.notices.extend(sure.notices)
    with environment.full_precision():  # as `accuracy.measure` ran
        ran_on = environment.describe(config.device)
    return Record(
        model=config.title or target.name,
        kind="accuracy",
        protocol=request.protocol if chosen.protocols else chosen.reader.partition(":")[0],
        parameters=describe(config, chosen, request, result)
        | {"weights": target.weights, **target.parameters, **artifact_of(model), **told(model)}
        | sure.parameters,
        metrics=result.metrics,
        conditions=sure.conditions,
        samples=sure.samples,
        environment=ran_on,
        checkpoint=target.facts.get("checkpoint"),
        manifest=target.facts.get("manifest"),
    )


def choose(name: str, config: EvalConfig) -> tuple[Target, zoo.Entry | None]:
    """The network and what is known about it, as the runtime runs it; no entry for a file without a name."""
    if foreign.means_foreign(name):
        return other_project(name, config), None
    if means_exported(name):
        return exported_file(name, config), None
    target, entry = network(name, config.checkpoint)
    if config.runtime in (None, "torch"):
        return target, entry
    return runtimes.on_the_way(target, config.runtime, device=config.device), entry


def other_project(name: str, config: EvalConfig) -> Target:
    """A detector of another project. Raises UsageError for options that only this project's networks have."""
    given = {"--checkpoint": config.checkpoint, "--tta": config.tta, "--runtime": config.runtime}
    given["--batch-size"] = config.batch_size > 1
    if said := [option for option, value in given.items() if value]:
        raise UsageError(f"{said[0]} is for networks of this project; {name} runs its own code, image by image.")
    return foreign.target(name, config.pythons, device=config.device)


def exported_file(name: str, config: EvalConfig) -> Target:
    """A file of `zoo export`. Raises UsageError for options that only networks have."""
    if config.checkpoint is not None or config.tta:
        option = "--tta" if config.checkpoint is None else "--checkpoint"
        raise UsageError(f"{option} is for networks; {name} is an exported file.")
    return runtimes.of_file(Path(name), config.runtime, device=config.device)


def network(name: str, checkpoint: Path | None) -> tuple[Target, zoo.Entry | None]:
    """A network of the zoo or a checkpoint file."""
    if checkpoint is None and means_file(name):
        return targets.of_file(existing(Path(name)), None), None
    if checkpoint is not None:
        return targets.of_file(existing(checkpoint), name), find(name)
    target = targets.by_name(name)
    if target.weights == "random":
        raise UsageError(f"{target.name} has no published weights: give yours with --checkpoint.")
    return target, find(name)


def find(name: str) -> zoo.Entry | None:
    """The entry of a model; None for the name of an architecture."""
    from zoo.manifest.api import architecture_names

    try:
        return zoo.get(name)
    except UnknownModel:
        if name in architecture_names():
            return None
        raise


def existing(path: Path) -> Path:
    """`path`, which must be a file."""
    if not path.is_file():
        raise ZooError(f"{path} does not exist.")
    return path


def known(entry: zoo.Entry) -> tuple[list[str], Sequence[str]]:
    """What a model of the zoo is evaluated for, and its class names."""
    from zoo.manifest.api import dataset

    return [TASK_MEASURES[task] for task in entry.tasks if task in TASK_MEASURES], dataset(entry.dataset).classes


def guess(model: Detector) -> tuple[list[str], Sequence[str] | None]:
    """The same for a network without an entry: what a worker or an exported file says, else by the heads."""
    if (measures := getattr(model, "measures", None)) is not None:
        return measures, model.classes
    if (artifact := getattr(model, "artifact", None)) is not None and artifact.facts.tasks:
        tasks = artifact.facts.tasks
        return [TASK_MEASURES[task] for task in tasks if task in TASK_MEASURES], model.classes
    names = {name.split(".")[-1] for name, _ in getattr(model, "original", model).named_modules()}
    if "rpn_head" in names and "roi_head" not in names:
        return ["proposal"], None
    heads = {"mask_head": "mask", "keypoint_head": "keypoint"}
    return ["box", *(measure for head, measure in heads.items() if head in names)], model.classes


def request_of(
    config: EvalConfig, chosen: Spec, measures: Sequence[str], classes: Sequence[str] | None
) -> MetricConfig:
    """What to ask of a dataset. measures, classes: what the model can be evaluated for, and its class names."""
    asked = config.measures or tuple(measure for measure in measures if measure in chosen.measures)
    if not asked:
        raise UsageError(f"{chosen.name} has no metric for {' and '.join(measures)}, only for {chosen.measures[0]}.")
    if config.protocol is not None and not chosen.protocols:
        raise UsageError(f"--protocol says how to read COCO's numbers; {chosen.name} has a metric of its own.")
    # Recall at 1000 proposals, which is what is published, exists in MMDetection's definition only.
    protocol = config.protocol or ("mmdet-v2" if "proposal" in asked else "coco")
    names = None if not classes or asked == ("proposal",) else tuple(classes)
    return MetricConfig(
        names, asked, protocol, config.metric_backend, config.split, present_classes=config.present_classes
    )


def checked_labels(model: Detector) -> Detector:
    """`model`, whose checkpoint names as many classes as it tells apart, or none. Raises ZooError."""
    if model.classes and model.label_count not in (None, len(model.classes)):
        first = ", ".join(map(str, list(model.classes)[:3]))
        raise ZooError(
            f"the network tells {model.label_count} classes apart, its checkpoint names {len(model.classes)} "
            f"({first}{', ...' if len(model.classes) > 3 else ''}): no label's class is certain."
        )
    return model


def told(model: Any) -> dict[str, Any]:
    """What another project's worker says it is; nothing for a network of this one."""
    facts = getattr(model, "told", None)
    return facts() if facts is not None else {}


def describe(config: EvalConfig, chosen: Spec, request: MetricConfig, result: Accuracy) -> dict[str, Any]:
    """Everything that was chosen, as a record's parameters."""
    return {
        "dataset": chosen.name,
        "split": config.split or chosen.split,
        "images": result.images,
        "all_images": chosen.all_images(config.split, result.listed),
        "limit": config.limit,
        "measures": list(request.measures),
        "metric": chosen.metric,
        "metric_backend": config.metric_backend,
        "batch": config.batch_size,
        "device": config.device,
        "tta": config.tta,
        "notices": result.notices,
    }


def comparison(record: Record) -> list[dict[str, Any]]:
    """Published beside measured, for a model of the zoo; the record says which weights and how many images."""
    try:
        entry = zoo.get(record.model)
    except UnknownModel:
        return []
    return published_metrics.compare(entry, record.parameters, record.metrics)


def check_output(path: Path | None) -> None:
    """Complain before the work rather than after it."""
    if path is not None and not path.absolute().parent.is_dir():
        raise UsageError(f"{path.absolute().parent} is not a folder, {path.name} cannot be written there.")


def check_panoptic_output(path: Path | None, request: MetricConfig) -> None:
    """The same for the folder of PNGs that panoptic results have."""
    if path is not None and "panoptic" in request.measures:
        from benchmarks.datasets import panoptic_results

        panoptic_results.require_empty(panoptic_results.path_beside(path))
