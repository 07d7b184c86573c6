"""A checkpoint's description of its network builds no more than the file has tensors for, and ends in a sentence."""

from __future__ import annotations

import copy
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import zoo
from zoo.checkpoint.config.extent import MAX_PARTS, check_extent
from zoo.checkpoint.config.mmdet_config import parse
from zoo.errors import BuildError, CorruptCheckpoint, ZooError
from zoo.loading import build_from_meta
from zoo.manifest import api
from zoo.models.argument_types import MAX_INTEGER
from zoo.models.build import build_detector
from zoo.models.build_budget import Budget, limited
from zoo.training.publish import config_text

FILES = sorted((Path(__file__).parent / "hostile").glob("*.pth"))
SECONDS, MIB = 2, 200
CHILD = f"""
import resource, sys, time
import zoo, torch, torchvision
from zoo.loading import build_from_meta
zoo.build("yolox_nano_8x8_300e_coco")  # what any network imports
before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
try:
    zoo.load_file(sys.argv[1])
    print("loaded")
except zoo.ZooError as error:
    print(str(error))
grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
assert time.process_time() - start < {SECONDS}, "too slow"
assert grown < {MIB}, f"{{grown}} MiB"
"""


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_hostile_description_is_one_bounded_sentence_in_bounded_time_and_memory(path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", CHILD, str(path)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    said = done.stdout.removesuffix("\n")
    assert said != "loaded" and said.isprintable() and len(said) < 500


def budget() -> Budget:
    """Of a file with YOLOX-nano's tensors."""
    return Budget.of_tensors([2_000] * 500)


@pytest.mark.parametrize(
    ("argument", "value", "words"),
    [
        ("out_channels", 10**6, "more parameters than the file has"),
        ("num_csp_blocks", 200_000, "more layers than the file has|more than 20,000 components"),
        ("num_csp_blocks", MAX_INTEGER + 1, "'num_csp_blocks' is 1e"),
        ("out_channels", "96", "'out_channels' is '96', not an integer"),
        ("out_channels", -1, "YOLOXPAFPN"),
        ("out_channels", float("inf"), "'out_channels' is inf"),
        ("in_channels", [96, None, 384], "'in_channels'"),
    ],
)
def test_a_value_that_no_layer_takes_is_an_error_of_its_component(argument: str, value: Any, words: str) -> None:
    description = copy.deepcopy(dict(api.architecture("yolox_nano_8x8_300e_coco")))
    description["neck"][argument] = value
    start = time.process_time()
    with pytest.raises(BuildError, match=words), limited(budget()):
        build_detector(description)
    assert time.process_time() - start < SECONDS


def test_the_budget_of_a_file_is_enough_for_its_own_network() -> None:
    model = zoo.build("yolox_nano_8x8_300e_coco")
    sizes = [tensor.numel() for tensor in model.state_dict().values()]
    with limited(Budget.of_tensors(sizes)):
        again = build_detector(api.architecture("yolox_nano_8x8_300e_coco"))
    assert again.state_dict().keys() == model.state_dict().keys()


def test_a_budget_ends_with_its_block() -> None:
    with pytest.raises(BuildError), limited(Budget(elements=0, modules=0)):
        zoo.build("yolox_nano_8x8_300e_coco")
    assert zoo.build("yolox_nano_8x8_300e_coco") is not None


@pytest.mark.parametrize(
    "text",
    [
        "a=1\n" * 4_000_000,
        "a = dict(" + ", ".join(f"k{i}=1" for i in range(1_000_000)) + ")",
        "model = " + "dict(type='A', b=" * 2_000_000 + "1" + ")" * 2_000_000,
        "a.py\n" + ("a = 1\n" * 80_000 + "b.py\n") * 10,
    ],
    ids=["assignments", "keys", "nested", "files"],
)
def test_a_configuration_text_that_is_too_long_is_refused_in_a_second(text: str) -> None:
    start = time.process_time()
    with pytest.raises(CorruptCheckpoint, match="has a configuration of"):
        parse(text)
    assert time.process_time() - start < 1


def test_a_list_that_repeats_a_component_is_counted_before_it_is_walked() -> None:
    with pytest.raises(BuildError, match="more than 50,000 parts"):
        check_extent({"type": "A", "neck": [{"type": "FPN"}] * (MAX_PARTS + 1)})


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.pth"
    os.mkfifo(pipe)
    for path in (pipe, Path("/dev/zero")):
        with pytest.raises(CorruptCheckpoint, match="is not a regular file"):
            zoo.load_file(path)


def test_messages_show_control_characters_escaped_and_are_bounded() -> None:
    assert str(ZooError("a\x1b[31m\x07\ud800b")) == "a\\x1b[31m\\x07\\ud800b"
    assert len(str(ZooError("x" * 10_000_000))) < 5_000


NASTY = st.one_of(
    st.sampled_from([None, True, "x", "", -1, 0, 2**63, 10**30, -(10**9), 10**6, 5e307, float("inf"), float("nan")]),
    st.lists(st.sampled_from([None, 0, -1, 3, "x", 10**6]), max_size=4),
    st.just({"type": "FPN"}),
    st.just({}),
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all values inside a description."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, item in inner for place in places(item, (*path, key)))][0 if path else 1 :]


def changed(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """A copy with another value at `path`."""
    result = copy.deepcopy(value)
    holder = result
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = new
    return result


def plain(value: Any) -> Any:
    """Dicts and lists in place of other containers."""
    if hasattr(value, "items"):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_a_mutated_description_is_a_documented_error_or_a_network(data: st.DataObject) -> None:
    description = plain(api.architecture("yolox_nano_8x8_300e_coco"))
    for _ in range(data.draw(st.integers(1, 2))):
        description = changed(description, data.draw(st.sampled_from(places(description))), data.draw(NASTY))
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    try:
        with limited(budget()):
            build_detector(description)
    except ZooError as error:
        assert len(str(error)) < 5_000
    assert time.process_time() - start < SECONDS
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < 500


PIECES = st.one_of(
    st.sampled_from(["", "None", "-1", "10**9", "1e308", "'x'", "[[]]", "dict(", ")", "**a", "[0] * 99999"]),
    st.sampled_from(["\x1b[31m", "\ud800", "\0", "type='FPN'", "True"]),
    st.text(max_size=12),
)


def own_text() -> str:
    """The configuration text of YOLOX-nano, as a training writes it."""
    name = "yolox_nano_8x8_300e_coco"
    return config_text(plain(api.architecture(name)), api.preprocessing(name), ("person", "car"))


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_a_mutated_configuration_text_is_a_documented_error_or_a_network(data: st.DataObject) -> None:
    text = own_text()
    for _ in range(data.draw(st.integers(1, 3))):
        start, length = data.draw(st.integers(0, len(text))), data.draw(st.integers(0, 40))
        text = text[:start] + data.draw(PIECES) + text[start + length :]
    before, start_time = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    try:
        build_from_meta({"config": text}, [2_000] * 500)
    except ZooError as error:
        assert len(str(error)) < 5_000 and str(error).replace("\n", "").isprintable()
    assert time.process_time() - start_time < SECONDS
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < 500
