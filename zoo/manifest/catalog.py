"""All manifest files together: names -> what they say, with base and defaults filled in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from zoo.manifest import derive, hosts, inheritance, schema, yaml_io
from zoo.manifest.entry import (
    Backbone,
    Checkpoint,
    Dataset,
    Entry,
    Mirror,
    Paper,
    ReceptiveFields,
    Speed,
    Substitute,
    Training,
)
from zoo.preprocessing.recipe import Normalization, Preprocessing, triple

Field = tuple[str | int, ...]
_SCHEDULED = ("schedule", "epochs", "iterations")


class Stated(NamedTuple):
    """A named thing as written, and the file that says it."""

    value: Any
    file: Path


class Catalog:
    """The files of the package and the user's `own`, which add to them. Raises ManifestError for the first mistake."""

    def __init__(self, own: Sequence[Path] = ()) -> None:
        self.files = yaml_io.read_cached(yaml_io.builtin_files(), schema.check)
        self.files |= yaml_io.read(own, schema.check)
        self.own = frozenset(own)
        self.models = self._section("models")
        self.normalizations = self._section("normalizations")
        self.recipes = self._section("preprocessing")
        self.datasets = self._section("datasets")
        self.backbones = self._section("backbones")
        self.hashes = self._section("sha256")
        self.searches = self._section("receptive_fields")
        self.parameters = self._section("parameters")
        self.architectures = self._section("architectures")
        self.bases = self._section("components", taken=self.architectures)
        self._entries: dict[str, Entry] = {}
        self._resolved: dict[str, Any] = {}
        self.aliases = self._alias_table()
        self._check_names()
        for file in own:
            self._check_bases(file)
            self._check_metrics(file)

    def _section(self, section: str, taken: Mapping[str, Stated] | None = None) -> dict[str, Stated]:
        """Everything that the files say in a section, added to what is `taken`; a name may be used once only."""
        result: dict[str, Stated] = dict(taken or {})
        for file, content in self.files.items():
            for name, value in content.get(section, {}).items():
                if name in result:
                    other = self._section_of(section, name, result[name].file)
                    raise schema.mistake(file, (section, name), f"this name is already taken in {other}")
                result[name] = Stated(value, file)
        return result

    def _section_of(self, section: str, name: str, file: Path) -> str:
        """`file:line` of a name in a file; components and architectures share their names."""
        section = section if name in self.files[file].get(section, {}) else "architectures"
        return f"{file}:{yaml_io.line_of(file, (section, name))}"

    # Names

    def _alias_table(self) -> dict[str, str]:
        """Alias -> model. Raises ManifestError for an alias that is taken, about the user's file where one is."""
        result: dict[str, str] = {}
        for name, (_, file) in self.models.items():
            for alias in self.aliases_of(name):
                if alias in self.models and self.models[alias].file in self.own and file not in self.own:
                    where, problem = ("models", alias), f"this name already is another one of {name}, in {file}"
                    raise schema.mistake(self.models[alias].file, where, problem)
                if alias in self.models or alias in result:
                    other = result.get(alias, alias)
                    raise schema.mistake(file, ("models", name, "aliases"), f"'{alias}' already means {other}")
                result[alias] = name
        return result

    def _check_names(self) -> None:
        known: dict[str, Mapping[str, Any]] = {
            "architecture": self.architectures,
            "normalization": self.normalizations | {"none": None},
            "preprocessing": self.recipes,
            "dataset": self.datasets,
        }
        for key, (value, file) in self.backbones.items():
            if file in self.own and "source" not in derive.backbone(key, value):
                raise schema.mistake(file, ("backbones", key), "'source' is missing")
        for name, (value, file) in self.models.items():
            search = value.get("receptive_fields", {}).get("search")
            if search is not None and search not in self.searches:
                where: Field = ("models", name, "receptive_fields", "search")
                raise schema.mistake(file, where, f"no file has receptive_fields '{search}'")
            for other in value.get("substitutes", ()):
                if isinstance(other, str) and other not in self.models:
                    raise schema.mistake(file, ("models", name, "substitutes"), f"there is no model named '{other}'")
            defaults = self.files[file].get("defaults", {})
            for field, names in known.items():
                stated = value.get(field, defaults.get(field, name if field == "architecture" else None))
                if stated not in names and not (field == "architecture" and field not in value):
                    where = ("models", name, field) if field in value else ("defaults", field)
                    problem = f"there is no {field} named '{stated}'" if stated else f"{name} states no {field}"
                    raise schema.mistake(file, where if stated else ("models", name), problem)

    def _check_bases(self, file: Path) -> None:
        """Everything that a user's file describes can be filled in."""
        for section in ("components", "architectures"):
            for name in self.files[file].get(section, ()):
                self._resolve(name, ())
        for name in self.files[file].get("models", ()):
            self.preprocessing(self.entry(name))

    def _check_metrics(self, file: Path) -> None:
        """The figures of a user's models are such as some dataset of the package has."""
        for name, value in self.files[file].get("models", {}).items():
            for dataset, figures in value.get("metrics", {}).items():
                for metric in figures:
                    if metric not in self._metrics:
                        known = f"known are {', '.join(sorted(self._metrics))}"
                        where: Field = ("models", name, "metrics", dataset, metric)
                        raise schema.mistake(file, where, f"no dataset has the metric '{metric}'; {known}")

    @cached_property
    def _metrics(self) -> frozenset[str]:
        """The metrics that the package's models were published with."""
        names = (name for name, (_, file) in self.models.items() if file not in self.own)
        return frozenset(key for name in names for figures in self.entry(name).metrics.values() for key in figures)

    # Architectures

    def architecture(self, name: str) -> dict[str, Any]:
        """The complete description. KeyError for an unknown name; ManifestError for a base that cannot be followed."""
        if name not in self.architectures:
            raise KeyError(name)
        return self.base(name)

    def base(self, name: str) -> dict[str, Any]:
        """The complete description of a component or architecture. KeyError for an unknown name."""
        if name not in self.bases:
            raise KeyError(name)
        return inheritance.copy(self._resolve(name, ()))

    def _resolve(self, name: str, users: tuple[str, ...]) -> Any:
        if name not in self._resolved:
            value, file = self.bases[name]
            section = "architectures" if name in self.architectures else "components"
            if name in users:
                raise schema.mistake(file, (section, name), f"is its own base: {' -> '.join((*users, name))}")
            try:
                self._resolved[name] = inheritance.resolve(value, lambda base: self._resolve(base, (*users, name)))
            except inheritance.InheritanceError as error:
                raise schema.mistake(file, (section, name, *error.path), str(error)) from None
        return self._resolved[name]

    def where(self, name: str, path: Field) -> tuple[Path, int] | None:
        """File and line that state the field at `path` of an architecture, or None where nothing states it."""
        result = inheritance.origin(name, path, lambda base: self.bases[base].value)
        if result is None:
            return None
        base, inside = result
        section = "architectures" if base in self.architectures else "components"
        file = self.bases[base].file
        return file, yaml_io.line_of(file, (section, base, *inside))

    # Entries

    def entry(self, name: str) -> Entry:
        """The model called exactly `name`. KeyError where there is none."""
        if name not in self._entries:
            self._entries[name] = self._make_entry(name, *self.models[name])
        return self._entries[name]

    def _make_entry(self, name: str, stated: Any, file: Path) -> Entry:
        content = self.files[file]
        defaults = content.get("defaults", {})
        value = inheritance.resolve(stated, _no_base, {k: v for k, v in defaults.items() if k != "speed"})
        value = {**derive.published(value.get("published", {}), value["dataset"]), **value}
        architecture = (
            value["architecture"] if "architecture" in value else derive.architecture(name, self.architectures)
        )
        family = value.get("family", content.get("family", file.stem))
        publisher = derive.Publisher(self.origin(name), family, value.get("folder"))
        checkpoint = self._checkpoint(value["checkpoint"], file, publisher) if "checkpoint" in value else None
        log = _log_path(value, checkpoint, publisher)
        paper = value.get("paper", content.get("paper"))
        return Entry(
            name=name,
            aliases=self.aliases_of(name),
            family=family,
            architecture=architecture if architecture in self.architectures else None,
            checkpoint=checkpoint,
            log_url=self.original_url(log) if log else None,
            log_urls=self.urls(log) if log else (),
            normalization=value["normalization"],
            preprocessing=value["preprocessing"],
            dataset=value["dataset"],
            tasks=tuple(value.get("tasks", derive.tasks(value.get("metrics", {})))),
            metrics=value.get("metrics", {}),
            training=_training(name, value, checkpoint, publisher),
            speed=tuple(_speed({**defaults.get("speed", {}), **item}) for item in value.get("speed", ())),
            paper=Paper(**paper) if paper else None,
            license=value.get("license"),
            notes=tuple(value.get("notes", ())),
            origin=publisher.origin,
            config=value.get("config", derive.config(name, checkpoint.path if checkpoint else None, publisher)),
            receptive_fields=self._receptive_fields(**value.get("receptive_fields", {})),
            alternates=self._checkpoints(value, "alternates", file, publisher),
            substitutes=tuple(self._substitute(item) for item in value.get("substitutes", ())),
            superseded=self._checkpoints(value, "superseded", file, publisher),
            parameters=self.parameters[architecture].value if architecture in self.parameters else None,
            source=file,
        )

    def _receptive_fields(self, search: str | None = None, branches: int = 1) -> ReceptiveFields | None:
        if search is None:
            return None
        result = self.searches[search].value
        return ReceptiveFields(result["dilations"], tuple(result.get("skip", ())), branches)

    def origin(self, name: str) -> str:
        """Whose model it is: as stated, else MMDetection's in the package's files and the user's in others."""
        value, file = self.models[name]
        stated = {**self.files[file].get("defaults", {}), **value}
        return stated.get("origin", "user" if file in self.own else "mmdetection")

    def aliases_of(self, name: str) -> tuple[str, ...]:
        """Other names of a model: as stated, else the short ones that follow from its published names."""
        value, file = self.models[name]
        if "aliases" in value or file in self.own or "checkpoint" not in value:
            return tuple(value.get("aliases", ()))
        defaults = self.files[file].get("defaults", {})
        publisher = derive.Publisher(self.origin(name), file.stem, value.get("folder", defaults.get("folder")))
        return derive.aliases(name, value["checkpoint"], publisher)

    def _checkpoint(self, stated: Any, file: Path, publisher: derive.Publisher) -> Checkpoint:
        value = derive.checkpoint(stated, publisher)
        local = (file.parent / Path(value["file"]).expanduser()).resolve() if "file" in value else None
        fields = {key: item for key, item in value.items() if key != "file"}
        return Checkpoint(urls=self.urls(value["path"]) if "path" in value else (), file=local, **fields)

    def _checkpoints(self, value: Any, key: str, file: Path, publisher: derive.Publisher) -> tuple[Checkpoint, ...]:
        return tuple(self._checkpoint(item, file, publisher) for item in value.get(key, ()))

    def _substitute(self, stated: Any) -> Substitute:
        """One that is named is a model of the zoo, which knows the rest."""
        if not isinstance(stated, str):
            return Substitute(**stated)
        value, file = self.models[stated]
        facts = {**self.files[file].get("defaults", {}), **value}
        facts = {**derive.published(facts.get("published", {}), facts["dataset"]), **facts}
        return Substitute(stated, next(iter(facts.get("metrics", {}).values()), {}), facts.get("license"))

    # Everything else

    @cached_property
    def mirrors(self) -> tuple[Mirror, ...]:
        """The hosts in the order in which they are tried; those of later files come first."""
        stated = [mirror for content in reversed(self.files.values()) for mirror in content.get("mirrors", ())]
        return tuple(map(_mirror, stated))

    def urls(self, path: str) -> tuple[str, ...]:
        """Where a published path, or a file that is stated by its URL, may be had, in order."""
        return hosts.urls(path, self.mirrors)

    def sha256(self, path: str) -> str | None:
        """The whole SHA-256 of a published file, where it is public: by its name, or the end of its path."""
        parts = path.split("/")
        ends = ("/".join(parts[-count:]) for count in range(1, len(parts) + 1))
        return next((self.hashes[end].value for end in ends if end in self.hashes), None)

    def original_url(self, path: str) -> str:
        """The published link to a path."""
        return path if "://" in path else next(m.url for m in self.mirrors if m.original) + path

    def normalization(self, name: str) -> Normalization | None:
        """None for `none`. KeyError for an unknown name."""
        if name == "none":
            return None
        value = self.normalizations[name].value
        return Normalization(triple(value["mean"]), triple(value["std"]), value["to_rgb"])

    def preprocessing(self, entry: Entry) -> Preprocessing:
        """The complete recipe of a model."""
        value, file = self.recipes[entry.preprocessing]
        try:
            return Preprocessing.from_description(value, self.normalization(entry.normalization))
        except ValueError as error:
            raise schema.mistake(file, ("preprocessing", entry.preprocessing), str(error)) from None

    def dataset(self, name: str) -> Dataset:
        """KeyError for an unknown name."""
        value = self.datasets[name].value
        tuples = {key: tuple(value[key]) for key in ("classes", "stuff_classes") if key in value}
        return Dataset(name, **{**value, **tuples})

    def backbone(self, key: str) -> Backbone:
        """KeyError for an unknown key."""
        return Backbone(key, **derive.backbone(key, self.backbones[key].value))


def _mirror(value: Mapping[str, Any]) -> Mirror:
    url = hosts.web_address(value["url"]).removesuffix("/") + "/"
    return Mirror(**{**value, "url": url, **{key: tuple(value.get(key, ())) for key in ("lacks", "files")}})


def _training(
    name: str, value: Mapping[str, Any], checkpoint: Checkpoint | None, publisher: derive.Publisher
) -> Training:
    """What is stated about training; of MMDetection's models the name tells the schedule."""
    stated = {key: item for key, item in value.get("training", {}).items() if key != "started"}
    if checkpoint and publisher.origin == "mmdetection" and stated.keys().isdisjoint(_SCHEDULED):
        stated |= derive.schedule(name)
    return Training(**stated)


def _log_path(value: Mapping[str, Any], checkpoint: Checkpoint | None, publisher: derive.Publisher) -> str | None:
    """A bare file name lies beside the published checkpoint."""
    if checkpoint is None or not checkpoint.path:
        return value.get("log")
    started = value.get("training", {}).get("started")
    log = value["log"] if "log" in value else derive.log(value["checkpoint"], checkpoint.path, publisher, started)
    return log if log is None or "/" in log else f"{checkpoint.path.rsplit('/', 1)[0]}/{log}"


def _no_base(name: str) -> Any:
    raise KeyError(name)


def _speed(value: Mapping[str, Any]) -> Speed:
    resolution = value.get("resolution")
    return Speed(**{**value, "resolution": None if resolution is None else tuple(resolution)})
