"""Manifest files on disk: which there are, their content, and the line on which a field stands.

Parsing all of YAML takes most of a second, so the parsed text is kept as JSON in the user's cache folder, valid as
long as every file has the same path, size and modification time. A cache that cannot be read or written is ignored.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from zoo.errors import ManifestError
from zoo.settings import cache_dir
from zoo.system.atomic_write import atomic_write

OTHER_FILES = ("reference_comparison.yaml",)  # facts for a report, without models
_CACHE_FORMAT = 1
_CODE = [Path(__file__).resolve().with_name(name) for name in ("schema.py", "yaml_io.py")]  # a new check, a new cache


def builtin_files() -> list[Path]:
    """The manifests that come with this package: `zoo/manifests` when installed, `manifests` in a source tree."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "manifests", package.parent / "manifests"):
        files = sorted(path for path in folder.rglob("*.yaml") if path.name not in OTHER_FILES)
        if files:
            return files
    raise ManifestError(f"{package / 'manifests'}: no manifest files; the installation is incomplete, install again")


def read(files: Sequence[Path], check: Callable[[Path, Any], None]) -> dict[Path, Any]:
    """The parsed and checked content of each file."""
    content = {path: parse(path) for path in files}
    for path, value in content.items():
        check(path, value)
    return content


def read_cached(files: Sequence[Path], check: Callable[[Path, Any], None]) -> dict[Path, Any]:
    """The same, from the cache where nothing has changed."""
    stamps = {str(path): _stamp(path) for path in (*files, *_CODE)}
    key = hashlib.sha256("\0".join(stamps).encode()).hexdigest()[:16]
    cache = cache_dir() / f"manifests-{key}.json"
    content = _read_cache(cache, stamps)
    if content is None:
        content = {str(path): value for path, value in read(files, check).items()}
        _write_cache(cache, {"format": _CACHE_FORMAT, "stamps": stamps, "content": content})
    return {Path(path): value for path, value in content.items()}


def parse(path: Path) -> Any:
    """The content of one YAML file. Raises ManifestError with the line of a syntax error or a repeated key."""
    import yaml

    loader = _loader(_text(path))
    try:
        node = loader.get_single_node()
        _refuse_repeated_keys(node, path)
        return loader.construct_document(node) if node else None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        location = f"{path}:{mark.line + 1}" if mark else str(path)
        raise ManifestError(f"{location}: not valid YAML: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise ManifestError(f"{path}: not valid YAML: {str(error).splitlines()[0]}") from None


def line_of(path: Path, field: Sequence[str | int]) -> int:
    """The line on which `field` (keys and list indices from the top) stands, or of the nearest field around it."""
    node = _loader(_text(path)).get_single_node()
    line = 1
    for step in field:
        result = _child(node, step)
        if result is None:
            break
        line, node = result
    return line


def _child(node: Any, step: str | int) -> tuple[int, Any] | None:
    if node.id == "mapping":
        pairs = ((key.start_mark.line + 1, value) for key, value in node.value if key.value == str(step))
        return next(pairs, None)
    if node.id == "sequence" and isinstance(step, int) and step < len(node.value):
        return node.value[step].start_mark.line + 1, node.value[step]
    return None


def _refuse_repeated_keys(node: Any, path: Path) -> None:
    """YAML libraries keep the last of two equal keys in silence; here it is a mistake."""
    if node is None or node.id == "scalar":
        return
    if node.id == "sequence":
        for item in node.value:
            _refuse_repeated_keys(item, path)
        return
    seen: set[str] = set()
    for key, value in node.value:
        if key.value in seen:
            line = key.start_mark.line + 1
            raise ManifestError(f"{path}:{line}: {key.value}: this key appears twice in the same mapping")
        seen.add(key.value)
        _refuse_repeated_keys(value, path)


def _loader(text: str) -> Any:
    import yaml

    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ManifestError(f"{path}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise ManifestError(f"{path}: is not UTF-8 text") from None


def _stamp(path: Path) -> list[int]:
    try:
        status = path.stat()
    except OSError as error:
        raise ManifestError(f"{path}: cannot be read: {error.strerror or error}") from None
    return [status.st_size, status.st_mtime_ns]


def _read_cache(cache: Path, stamps: dict[str, list[int]]) -> dict[str, Any] | None:
    try:
        stored = json.loads(cache.read_bytes())
    except (OSError, ValueError):
        return None
    usable = isinstance(stored, dict) and stored.get("format") == _CACHE_FORMAT and stored.get("stamps") == stamps
    return stored["content"] if usable else None


def _write_cache(cache: Path, value: dict[str, Any]) -> None:
    try:
        atomic_write(cache, json.dumps(value), parents=True)
    except (OSError, TypeError):  # unwritable folder, or dates and other values that JSON has no word for
        return
