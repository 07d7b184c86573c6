"""A page for each method family, from the manifests: paper, models, published numbers, and what to look out for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import NamedTuple
from urllib.parse import quote

import zoo
from zoo.manifest import api

# Metrics in the order in which their columns stand, with the names that the tables give them.
METRICS = {
    "box_ap": "box AP",
    "mask_ap": "mask AP",
    "keypoint_ap": "keypoint AP",
    "pq": "PQ",
    "map_50": "mAP at 0.5",
    "ar_1000": "AR at 1000",
}
ORIGINS = {"detectron2": "Detectron2", "torchvision": "torchvision", "authors": "the authors of the methods"}
APS = "APs are published ones on COCO, in percent."
NOT_MEASURED = """Published numbers, in percent. They were not measured here: `bench accuracy NAME --data DIR`
measures them on your machine, and [the reports](../reports/zoo.md) show what has been measured.
"""


class Family(NamedTuple):
    """name: as in the manifests. entries: its models with published weights, in the order of the manifest."""

    name: str
    entries: tuple[zoo.Entry, ...]

    @property
    def title(self) -> str:
        """Its heading."""
        return self.name

    @property
    def page(self) -> str:
        """Its page, from the root of the site."""
        return f"families/{self.name.replace('+', '_')}.md"


@cache
def all_families() -> tuple[Family, ...]:
    """Every family with published models, in alphabetical order."""
    groups: dict[str, list[zoo.Entry]] = {}
    for name in api.catalog().models:
        entry = zoo.get(name)
        if entry.checkpoint is not None and entry.origin != "user":
            groups.setdefault(entry.family, []).append(entry)
    return tuple(Family(name, tuple(groups[name])) for name in sorted(groups, key=str.lower))


def pages() -> dict[str, str]:
    """The page of each family, and their index, by path on the site."""
    return {"families/index.md": index(), **{family.page: page(family) for family in all_families()}}


def index() -> str:
    """The list of families."""
    count = sum(len(family.entries) for family in all_families())
    lines = ["# Methods", "", f"{count} models with published weights in {len(all_families())} families.", APS, ""]
    lines += [
        "| family | models | best box AP | published by | paper |",
        "| --- | ---: | ---: | --- | --- |",
    ]
    for family in all_families():
        link = f"[{family.title}]({family.page.rpartition('/')[2]})"
        cells = [link, str(len(family.entries)), best(family), publishers(family), first_paper(family)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def best(family: Family) -> str:
    """The highest published box AP on COCO, or nothing."""
    values = [entry.metric("box_ap") for entry in family.entries if entry.dataset.startswith("coco")]
    known = [value for value in values if value is not None]
    return f"{max(known):.1f}" if known else ""


def publishers(family: Family) -> str:
    """Who published the weights: MMDetection with its version, or another project."""
    return ", ".join(sorted({publisher(entry) for entry in family.entries}))


def publisher(entry: zoo.Entry) -> str:
    """Who published one model."""
    if entry.origin == "mmdetection":
        assert entry.checkpoint is not None
        return f"MMDetection {'3.x' if entry.checkpoint.format == 'mmdet-v3' else '2.x'}"
    return "this project" if entry.origin == "demo" else ORIGINS.get(entry.origin, entry.origin)


def first_paper(family: Family) -> str:
    """The link to the paper of the family's first model that has one."""
    return next((f"[{text(e.paper.title)}]({e.paper.url})" for e in family.entries if e.paper), "")


def page(family: Family) -> str:
    """The page of a family."""
    return "\n".join([f"# {family.title}", "", *introduction(family), *tables(family), *traps(family)]) + "\n"


def introduction(family: Family) -> Iterator[str]:
    """Papers, publishers, and the commands to begin with."""
    papers = {entry.paper.url: entry.paper.title for entry in family.entries if entry.paper}
    yield from (f"- Paper: [{text(title)}]({url})" for url, title in papers.items())
    yield f"- Weights published by {publishers(family)}"
    yield f"- Tasks: {', '.join(sorted({task for entry in family.entries for task in entry.tasks}))}"
    yield f"- Licenses of the weights: {', '.join(sorted({entry.license or 'not stated' for entry in family.entries}))}"
    name = family.entries[0].name
    yield from ("", "```sh", f"zoo list --family '{family.name}'", f"zoo show {name}", f"zoo fetch {name}", "```", "")


def tables(family: Family) -> Iterator[str]:
    """One table per dataset."""
    yield from ("## Models", "", NOT_MEASURED, "")
    for dataset in dict.fromkeys(entry.dataset for entry in family.entries):
        entries = [entry for entry in family.entries if entry.dataset == dataset]
        yield from (f"### {text(api.dataset(dataset).title)}", "", *table(entries), "")


def table(entries: Sequence[zoo.Entry]) -> Iterator[str]:
    """Models with their numbers; columns that no model has are left out."""
    columns = [key for key in METRICS if any(entry.metric(key) is not None for entry in entries)]
    head = [
        "model",
        *(METRICS[key] for key in columns),
        "parameters",
        "schedule",
        "training memory",
        "speed",
        "weights",
    ]
    yield f"| {' | '.join(head)} |"
    yield f"| --- |{' ---: |' * len(columns)} ---: | --- | ---: | ---: | --- |"
    yield from (f"| {' | '.join(cells(entry, columns))} |" for entry in entries)


def cells(entry: zoo.Entry, columns: Sequence[str]) -> list[str]:
    """One row: an empty cell where nothing was published."""
    metrics = [f"{value:.1f}" if (value := entry.metric(key)) is not None else "" for key in columns]
    size = f"{entry.parameters / 1e6:.1f} M" if entry.parameters else ""
    memory = f"{entry.training.memory_gb} GB" if entry.training.memory_gb is not None else ""
    speed = f"{entry.speed[0].fps} fps, {entry.speed[0].hardware or 'hardware not stated'}" if entry.speed else ""
    names = "<br>".join([f"`{entry.name}`", *(f"also `{alias}`" for alias in entry.aliases)])
    return [names, *metrics, size, entry.training.schedule or "", memory, speed, weights(entry)]


def weights(entry: zoo.Entry) -> str:
    """The link to the weights, and to the log where there is one."""
    assert entry.checkpoint is not None
    if not entry.checkpoint.urls:
        return "with this package"
    log = f", [log]({address(entry.log_urls[0])})" if entry.log_urls else ""
    return f"[{publisher(entry)}]({address(entry.checkpoint.urls[0])}){log}"


def address(url: str) -> str:
    """An address for a link; `hf://OWNER/REPOSITORY/FILE@REVISION` leads to the repository's page."""
    if url.startswith("hf://"):
        return f"https://huggingface.co/{'/'.join(url.removeprefix('hf://').split('/')[:2]).partition('@')[0]}"
    return quote(url, safe=":/%?=&@+")


def traps(family: Family) -> Iterator[str]:
    """What users must know, as the manifests note it."""
    notes: dict[str, list[str]] = {}
    for entry in family.entries:
        for note in entry.notes:
            notes.setdefault(note, []).append(entry.name)
    if not notes:
        return
    yield from ("## Notes", "")
    for note, names in notes.items():
        whole = len(names) == len(family.entries) > 1
        yield f"- {'All models' if whole else ', '.join(f'`{name}`' for name in names)}: {text(note)}"


def text(words: str) -> str:
    """Plain text for Markdown."""
    return " ".join(words.split()).replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*").replace("[", "\\[")
