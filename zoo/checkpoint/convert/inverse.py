"""A network's names -> those of Detectron2: the rename table read from right to left.

A target of a rule becomes a pattern, the rule's pattern a template. Whatever the table is ambiguous about is decided by
following the rule forwards again, by the kind of backbone (`backbone:` of a rule), and by whether there is a neck: with
one, Detectron2's backbone is `backbone.bottom_up`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import product

from torch import Tensor

from zoo.checkpoint.convert import reorder
from zoo.checkpoint.convert.tables import Rule, Table, table
from zoo.errors import MismatchedCheckpoint
from zoo.text import printable

# What a target has beside plain text: `\1` and `{\1-1}`.
PART = re.compile(r"\{\\(?P<group>\d+)(?P<op>//|-|\+)(?P<number>\d+)\}|\\(?P<plain>\d+)")
# What a pattern consists of: optional text, groups, and plain text.
TOKEN = re.compile(
    r"\(\?:(?P<optional>[^()]*)\)\?|\((?P<group>(?:[^()\\]|\\.)*)\)|\\(?P<escaped>\W)|(?P<literal>[^()\\])"
)
UNUSED = ("num_batches_tracked",)


def to_detectron2(state: Mapping[str, Tensor], backbone: str = "ResNet") -> dict[str, Tensor]:
    """A state dict under Detectron2's names, in its order of anchors and classes.

    backbone: type of the network's backbone, `RegNet` or any other. Raises MismatchedCheckpoint for what Detectron2 has
    no parameter for.
    """
    known = table("detectron2")
    kind = "RegNet" if backbone == "RegNet" else "ResNet"
    rules = [rule for rule in known.rules if rule.backbone in (None, kind)]
    wanted = [name for name in state if not name.endswith(UNUSED)]
    names = inverted(rules, wanted)
    result = {}
    for name in wanted:
        if name in names:
            theirs, rule = names[name]
            result[theirs] = state[name] if rule.values is None else reorder.invert(rule.values, state[name])
    copied = shared(known, wanted, state)
    result |= {theirs: state[ours[0]] for theirs, ours in copied.items()}
    lost = [name for name in wanted if name not in names and not any(name in ours for ours in copied.values())]
    if lost:
        raise MismatchedCheckpoint(f"Detectron2 has no parameter for {printable(', '.join(lost[:3]))}{more(lost)}.")
    check_needs(known, result)
    return result


def check_needs(known: Table, names: Collection[str]) -> None:
    """Raise MismatchedCheckpoint where a tensor is missing that every file of that project has."""
    needed = (other for rule in known.needs for name in names for other in rule.renamed(name))
    missing = next((name for name in needed if name not in names), None)
    if missing is not None:
        raise MismatchedCheckpoint(f"{known.title} has {missing}, for which this network has nothing.")


def more(names: Collection[str]) -> str:
    """` and 5 more` of a list of which three are shown."""
    return f" and {len(names) - 3} more" if len(names) > 3 else ""


def inverted(rules: Iterable[Rule], names: Collection[str]) -> dict[str, tuple[str, Rule]]:
    """For each name that a rule leads to, the name that it comes from, and the rule.

    Guards look at the names that rules without guards give.
    """
    rules, neck = list(rules), any(name.startswith("neck.") for name in names)
    free = found([rule for rule in rules if rule.guard is None], names, neck)
    theirs = [name for name, _ in free.values()]
    return found([rule for rule in rules if rule.applies(theirs)], names, neck)


def found(rules: Iterable[Rule], names: Collection[str], neck: bool) -> dict[str, tuple[str, Rule]]:
    """The first rule that leads to each name, and from where."""
    result: dict[str, tuple[str, Rule]] = {}
    for rule in rules:
        for name in names:
            origin = next(origins(rule, name, neck), None) if name not in result else None
            if origin is not None:
                result[name] = (origin, rule)
    return result


def origins(rule: Rule, name: str, neck: bool) -> Iterator[str]:
    """The names that a rule turns into `name`. neck: whether optional parts of a name are written."""
    for target in rule.targets:
        for values in group_values(target, name):
            candidate = spelled(rule.pattern.pattern, values, neck)
            if name in rule.renamed(candidate):
                yield candidate


def group_values(target: str, name: str) -> Iterator[dict[int, str]]:
    """What the groups of a rule's pattern may have matched, so that its target became `name`."""
    parts = list(PART.finditer(target))
    pattern, end = "", 0
    for part in parts:
        pattern += re.escape(target[end : part.start()]) + (r"(.+)" if part["plain"] else r"(\d+)")
        end = part.end()
    match = re.fullmatch(pattern + re.escape(target[end:]), name)
    if match is None:
        return
    options = [list(values_of(part, match[i + 1])) for i, part in enumerate(parts)]
    groups = [int(part["plain"] or part["group"]) for part in parts]
    for chosen in product(*options):
        yield dict(zip(groups, chosen))


def values_of(part: re.Match[str], text: str) -> Iterable[str]:
    """What a group was before the arithmetic of a target."""
    if part["plain"]:
        return [text]
    value, number = int(text), int(part["number"])
    if part["op"] == "//":
        return [str(i) for i in range(value * number, value * number + number)]
    return [str(value + number if part["op"] == "-" else value - number)]


def spelled(pattern: str, values: Mapping[int, str], neck: bool) -> str:
    """A pattern with its groups' values, its optional parts written or left out."""
    text, group = "", 0
    for token in TOKEN.finditer(pattern):
        if token["group"] is not None:
            group += 1
            text += values.get(group, "")
        elif token["optional"] is not None:
            text += token["optional"].replace("\\", "") if neck else ""
        else:
            text += token["escaped"] or token["literal"]
    return text


def shared(known: Table, names: Collection[str], state: Mapping[str, Tensor]) -> dict[str, list[str]]:
    """For each tensor that a file has once and the network several times: its name there, and the names here.

    Raises MismatchedCheckpoint where the tensors here differ.
    """
    result: dict[str, list[str]] = {}
    for rule in known.copies:
        for name in names:
            theirs = next(origins(rule, name, False), None)
            if theirs is not None:
                result.setdefault(theirs, []).append(name)
    for theirs, ours in result.items():
        if not all(state[name].equal(state[ours[0]]) for name in ours[1:]):
            raise MismatchedCheckpoint(f"{ours[0]} and {ours[1]} differ, but Detectron2 has one {theirs} for both.")
    return result
