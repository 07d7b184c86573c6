"""The rules of `base:` and `without:`."""

from __future__ import annotations

import pytest

from zoo.manifest.inheritance import InheritanceError, origin, resolve

PARTS = {
    "resnet": {"type": "ResNet", "depth": 50, "norm": {"type": "BN", "frozen": True}, "indices": [0, 1, 2, 3]},
    "deep": {"base": "resnet", "depth": 101},
}


def resolved(value):
    return resolve(value, lambda name: resolve(PARTS[name], lambda inner: PARTS[inner]))


def test_mappings_merge_and_everything_else_replaces():
    value = resolved({"base": "deep", "norm": {"frozen": False}, "indices": [3]})
    assert value == {"type": "ResNet", "depth": 101, "norm": {"type": "BN", "frozen": False}, "indices": [3]}


def test_null_is_a_value_like_any_other():
    assert resolved({"base": "resnet", "norm": None})["norm"] is None


def test_an_empty_base_replaces_what_was_inherited():
    assert resolved({"base": "resnet", "norm": {"base": None, "type": "GN"}})["norm"] == {"type": "GN"}


def test_a_base_inside_wins_over_the_surrounding_one():
    model = resolve({"backbone": {"base": "deep"}}, lambda name: resolved(PARTS[name]), {"backbone": {"type": "VGG"}})
    assert model["backbone"]["type"] == "ResNet"


def test_without_leaves_keys_out_at_any_depth():
    assert resolved({"base": "resnet", "without": ["depth"], "norm": {"without": ["frozen"]}}) == {
        "type": "ResNet",
        "norm": {"type": "BN"},
        "indices": [0, 1, 2, 3],
    }


def test_items_of_a_list_may_have_bases():
    stages = resolved({"stages": [{"base": "resnet"}, {"base": "deep"}]})["stages"]
    assert [stage["depth"] for stage in stages] == [50, 101]


@pytest.mark.parametrize(
    ("value", "path", "word"),
    [
        ({"a": {"base": "nothing"}}, ("a", "base"), "nothing"),
        ({"a": [{"base": 5}]}, ("a", 0, "base"), "name"),
        ({"base": "resnet", "without": ["width"]}, ("without",), "width"),
        ({"base": "resnet", "without": "depth"}, ("without",), "list"),
    ],
)
def test_a_mistake_says_where_it_is(value, path, word):
    with pytest.raises(InheritanceError, match=word) as caught:
        resolved(value)
    assert caught.value.path == path


def test_a_field_is_traced_through_bases():
    parts = {**PARTS, "net": {"backbone": {"base": "deep", "norm": {"frozen": False}}}}
    assert origin("net", ["backbone", "norm", "frozen"], parts.__getitem__) == ("net", ("backbone", "norm", "frozen"))
    assert origin("net", ["backbone", "norm", "type"], parts.__getitem__) == ("resnet", ("norm", "type"))
    assert origin("net", ["backbone", "depth"], parts.__getitem__) == ("deep", ("depth",))
    assert origin("net", ["neck"], parts.__getitem__) is None
