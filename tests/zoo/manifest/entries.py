"""Digests of what the manifests say, so that rewriting a manifest cannot change an entry unnoticed.

    python -m tests.zoo.manifest.entries    # after a change that is meant; git diff shows which entries changed

Entries that are new since the file was made are not in it. An entry's digest covers its published facts: not the hosts,
not prose such as notes, not the manifest that states it.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from zoo.manifest import api
from zoo.manifest.entry import Backbone, Checkpoint, Dataset, Entry
from zoo.manifest.formatting import plain

FILE = Path(__file__).with_name("entry_digests.json")
FACTS = (
    "name aliases family architecture normalization preprocessing dataset tasks metrics training speed paper license "
    "origin config receptive_fields parameters"
)


def digests() -> dict[str, str]:
    """`kind name` -> digest, for every model, backbone, component, architecture, dataset and recipe."""
    known = api.catalog()
    facts = {f"model {name}": entry_facts(api.get(name)) for name in known.models}
    facts |= {f"backbone {name}": without_hosts(known.backbone(name), "url") for name in known.backbones}
    facts |= {f"base {name}": known.base(name) for name in known.bases}
    facts |= {f"dataset {name}": dataset_facts(known.dataset(name)) for name in known.datasets}
    facts |= {
        f"recipe {name}": {k: v for k, v in known.recipes[name].value.items() if k != "description"}
        for name in known.recipes
    }
    return {key: digest(value) for key, value in sorted(facts.items())}


def entry_facts(entry: Entry) -> dict[str, Any]:
    facts = {field: plain(getattr(entry, field)) for field in FACTS.split()}
    facts["checkpoint"] = without_hosts(entry.checkpoint) if entry.checkpoint else None
    facts["superseded"] = [without_hosts(file) for file in entry.superseded]
    facts["log"] = entry.log_url.split("/mmdetection/")[-1] if entry.log_url else None
    return facts


def dataset_facts(value: Dataset) -> list[Any]:
    return [value.name, value.classes, value.stuff_classes, plain(value.splits)]


def without_hosts(value: Checkpoint | Backbone, *keep: str) -> dict[str, Any]:
    if isinstance(value, Backbone):
        return {key: plain(getattr(value, key)) for key in ("key", *keep, "source", "normalization", "sha256")}
    file = value.file.name if value.file else None
    return {"path": value.path, "sha256": value.sha256, "md5": value.md5, "format": value.format, "file": file}


def digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]


if __name__ == "__main__":
    now, kept = (
        digests(),
        json.loads(FILE.read_text()),
    )
    FILE.write_text(json.dumps({key: now[key] for key in kept}, indent=0, separators=(",", ":")) + "\n")
