"""A leaderboard as a folder for any static host: an index, a page per model, and everything as JSON.

The index is the page of `html`, with images and the plotting library as files of their own. The pages of models need no
scripts. A nightly job may write the same folder again: what no longer exists is removed.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from benchmarks.reports import html, html_data, model_page, static_table
from benchmarks.reports.html_data import Images
from benchmarks.results.record import Record
from zoo.errors import UsageError
from zoo.system.atomic_write import atomic_path, atomic_write

if TYPE_CHECKING:
    from zoo.manifest.api import Entry

PLOTLY = "plotly.min.js"
STYLE = "report.css"
INDEX = "index.html"
DATA = "data.json"
OWN = ("models", "images")
"""Folders of a site, in which nothing else is kept."""


def write(entries: Sequence[Entry], records: Sequence[Record], images: Images, folder: Path) -> list[Path]:
    """Write a site; the files, the index last. Raises UsageError for a folder with other files, and without plotly."""
    check(folder)
    script = html.plotly()
    data = html_data.content(entries, records, {})
    paths = unique_paths([str(model["name"]) for model in data["models"]])
    for model in data["models"]:
        model["page"] = quote(f"models/{paths[model['name']]}.html")
    files = [*copy_images(data["models"], images, paths, folder), *model_files(data, paths, folder)]
    index = html.page(data, static_table.table(data, lambda name: quote(f"models/{paths[name]}.html")), source=PLOTLY)
    contents = {PLOTLY: script, STYLE: html.asset(STYLE), DATA: html.as_json(data), INDEX: index}
    for name, content in contents.items():
        atomic_write(folder / name, content, parents=True)
        files.append(folder / name)
    remove_others(folder, set(files))
    return files


def check(folder: Path) -> None:
    """Raise UsageError for a folder that has files and is not a site."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is not a folder.")
    if folder.is_dir() and any(folder.iterdir()) and not ((folder / INDEX).exists() and (folder / DATA).exists()):
        raise UsageError(f"{folder} has other files: name an empty folder, or a site that this command wrote.")


def unique_paths(names: Sequence[str]) -> dict[str, str]:
    """A path below a folder for each name, without an ending: its own where a file can be called so."""
    result: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        parts = [re.sub(r"[^\w.+=@ -]", "_", part) for part in name.split("/") if part.strip(". ")]
        base = "/".join(parts) or "model"
        path, number = base, 1
        while path.lower() in taken:
            number += 1
            path = f"{base}-{number}"
        result[name] = path
        taken.add(path.lower())
    return result


def copy_images(
    models: Sequence[dict[str, Any]], images: Images, paths: dict[str, str], folder: Path
) -> Iterator[Path]:
    """Copy the images of detections, and tell the models their addresses."""
    for model in models:
        for source in images.get(model["name"], ()):
            name = f"images/{paths[model['name']]}/{source.name}"
            with atomic_path(folder / name, parents=True) as part:
                shutil.copyfile(source, part)
            model["images"].append({"name": source.stem, "src": quote(name)})
            yield folder / name


def model_files(data: dict[str, Any], paths: dict[str, str], folder: Path) -> Iterator[Path]:
    """Write the page and the JSON of each model."""
    for model in data["models"]:
        path = paths[model["name"]]
        root = "../" * (path.count("/") + 1)
        for suffix, content in ((".html", model_page.render(model, data, root)), (".json", html.as_json(model))):
            file = folder / f"models/{path}{suffix}"
            atomic_write(file, content, parents=True)
            yield file


def remove_others(folder: Path, files: set[Path]) -> None:
    """Remove what an earlier site had in its own folders and this one has not."""
    for own in OWN:
        for path in sorted((folder / own).rglob("*"), reverse=True):  # files before their folders
            if path.is_dir() and not path.is_symlink():
                if not any(path.iterdir()):
                    path.rmdir()
            elif path not in files:
                path.unlink()
