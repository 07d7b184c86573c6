"""A network's names -> those of another project, by any rename table read from right to left.

A tensor that the other project keeps in parts is cut; rows are put into its order. `inverse` does the same for
Detectron2, whose names depend on the kind of network.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from torch import Tensor

from zoo.checkpoint.convert import reorder
from zoo.checkpoint.convert.inverse import UNUSED, group_values, more
from zoo.checkpoint.convert.tables import Rule, Table
from zoo.errors import MismatchedCheckpoint
from zoo.text import printable

NUMBERED = {("coco91_no_object", 81): 92, ("coco91_foreground", 80): 91, ("coco91_objectness", 80): 91}
"""(operation, our rows) -> the other side's rows."""

Origins = dict[str, list[tuple[str, Rule]]]


def to_dialect(state: Mapping[str, Tensor], known: Table) -> dict[str, Tensor]:
    """A state dict under the names of a table, in its order of classes.

    Raises MismatchedCheckpoint for what the other project has no parameter for.
    """
    wanted = [name for name in state if known.counters or not name.endswith(UNUSED)]
    inverse = inverted(known.rules, wanted)
    lost = [name for name in wanted if name not in inverse]
    if lost:
        raise MismatchedCheckpoint(f"{known.title} has no parameter for {printable(', '.join(lost[:3]))}{more(lost)}.")
    result = {theirs: moved(state[name], rule) for name in wanted for theirs, rule in inverse[name]}
    return result | zeros(result, known)


def zeros(result: Mapping[str, Tensor], known: Table) -> dict[str, Tensor]:
    """Biases that our network does not have, as zeros."""
    collected = {theirs: (name, rule) for rule in known.zero for name in result for theirs in origins(rule, name)}
    lacking = {theirs: name for theirs, (name, _) in collected.items() if theirs not in result}
    return {theirs: result[name].new_zeros(len(result[name])) for theirs, name in lacking.items()}


def moved(tensor: Tensor, rule: Rule) -> Tensor:
    """One tensor, or a part of it, as the other side has it."""
    if rule.part is not None:
        start, stop, count = rule.part
        share = len(tensor) // count
        return tensor[start * share : stop * share].clone()
    if rule.values is None:
        return tensor
    rows = NUMBERED.get((rule.values, len(tensor)), len(tensor))
    return reorder.invert(rule.values, tensor, (rows, *tensor.shape[1:]))


def inverted(rules: Iterable[Rule], names: Collection[str]) -> Origins:
    """For each name, the names that it comes from, each with its rule: several where it is made of parts.

    Guards look at the names that rules without guards give.
    """
    rules = list(rules)
    free = found([rule for rule in rules if rule.guard is None], names)
    theirs = [origin for origins in free.values() for origin, _ in origins]
    return found([rule for rule in rules if rule.applies(theirs)], names)


def found(rules: Iterable[Rule], names: Collection[str]) -> Origins:
    """The first rule that leads to each name, or all rules that lead to its parts."""
    result: Origins = {}
    for rule in rules:
        for name in names:
            before = result.get(name, [])
            if before and not (rule.part and all(other.part and other.part != rule.part for _, other in before)):
                continue
            if (origin := next(origins(rule, name), None)) is not None:
                result[name] = [*before, (origin, rule)]
    return result


def origins(rule: Rule, name: str) -> Iterator[str]:
    """The names that a rule turns into `name`."""
    for target in rule.targets:
        for values in group_values(target, name):
            candidate = spelled(rule.pattern.pattern, values)
            if name in rule.renamed(candidate):
                yield candidate


def spelled(pattern: str, values: Mapping[int, str]) -> str:
    """A pattern with the values of its groups filled in; of alternatives outside them the first."""
    text, group, index = "", 0, 0
    while index < len(pattern):
        if pattern[index] == "(":
            end = closing(pattern, index)
            if pattern.startswith("(?:", index):
                text += spelled(pattern[index + 3 : end].split("|")[0], values)
            else:
                group += 1
                text += values.get(group, "")
            index = end + 1
        else:
            index += pattern[index] == "\\"
            text += pattern[index]
            index += 1
    return text


def closing(pattern: str, start: int) -> int:
    """The position of the parenthesis that closes the one at `start`."""
    depth = 0
    for index in range(start, len(pattern)):
        depth += {"(": 1, ")": -1}.get(pattern[index], 0)
        if depth == 0:
            return index
    raise ValueError(f"{pattern} has no closing parenthesis")
