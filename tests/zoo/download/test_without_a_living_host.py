"""Models whose weights no living host is documented to have under their own names: alternates, substitutes, or a word.

`WITHOUT` are all models of MMDetection 2.x that the documentation of the one living mirror does not link and no other
host lists; those of `zoo fetch` that are missing there but stand on OpenXLab are not among them.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.zoo.download.conftest import CONTENT, SHA256
from tests.zoo.download.server import status
from zoo.cli.main import main
from zoo.download import locations
from zoo.manifest import api

UNDOCUMENTED = (
    "https://download.openmmlab.com/",
    "https://openmmlab.oss-",
    "https://web.archive.org/",
)


def hosts(name):
    """The addresses of a model's file on hosts that are documented to have it."""
    checkpoint = api.get(name).checkpoint
    return [url for url in checkpoint.urls if not url.startswith(UNDOCUMENTED)] if checkpoint is not None else ["none"]


WITHOUT = [
    name
    for name in api.list_models(origin="mmdetection")
    if not hosts(name) and not api.get(name).checkpoint.path.startswith("v3.0/")
]
HAVING = [name for name in WITHOUT if api.get(name).alternates]


@pytest.fixture
def only_alternates(server, monkeypatch):
    """A server that has every alternate, with the content of these tests, and nothing else; no other host is known."""
    known = locations.model_file

    def here(entry):
        remote = known(entry)
        for path in (remote.path, *remote.also, *(place for other in remote.alternates for place in other.also)):
            server.behaviors[f"/{path}"] = [status(404)] * 9
        others = (replace(other, urls=(), sha256=SHA256[:8]) for other in remote.alternates)
        return replace(remote, urls=(), alternates=tuple(others))

    monkeypatch.setattr(locations, "model_file", here)
    return server


@pytest.mark.parametrize("name", WITHOUT)
def test_fetch_takes_an_alternate_or_names_what_could_stand_in(name, only_alternates, capsys, cache):
    code = main(["fetch", name, "--mirror", only_alternates.url("")])
    out, err = capsys.readouterr()
    if name in HAVING:
        assert code == 0 and out.strip().endswith(api.get(name).alternates[0].path.rsplit("/", 1)[-1])
        assert (cache / out.strip()).read_bytes() == CONTENT
        return
    assert code == 1 and out == ""
    substitutes = api.get(name).substitutes
    expected = [each.name for each in substitutes] or [f"No other weights are known that could stand in for {name}."]
    assert all(text in err for text in expected)
    assert not list(cache.rglob("*.pth"))


def test_eleven_of_them_have_an_alternate():
    assert len(HAVING) == 11
