"""Rename tables, read from `renames/*.yaml` when a file does not have the names that the network expects."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

ARITHMETIC = re.compile(r"\{(\d+)(//|-|\+)(\d+)\}")


@dataclass(frozen=True, slots=True)
class Rule:
    """One way to rename.

    guard: (pattern, whether a name of the file must match it). values: how to reorder the rows. backbone: with which
    type of backbone the rule is followed backwards (`inverse`), any if None. part: (from, to, of): the tensor is these
    shares of the rows of the network's, and others have the rest.
    """

    pattern: re.Pattern[str]
    targets: tuple[str, ...]
    guard: tuple[re.Pattern[str], bool] | None = None
    values: str | None = None
    backbone: str | None = None
    part: tuple[int, int, int] | None = None

    def applies(self, names: Iterable[str]) -> bool:
        """Whether the rule's guard lets it be used on a file with these names."""
        return self.guard is None or matches_any(self.guard[0], names) == self.guard[1]

    def renamed(self, name: str) -> list[str]:
        """The names that the rule makes of `name`; none if it does not match."""
        match = self.pattern.fullmatch(name)
        return [ARITHMETIC.sub(calculate, match.expand(target)) for target in self.targets] if match else []


@dataclass(frozen=True, slots=True)
class Table:
    """Everything about one origin of checkpoints.

    when: a pattern that some name of the file must match. drop: names to leave out where the network lacks them.
    fill: (pattern, value) of names to make up where the file lacks them. derive: rules from names that the
    file lacks to those that they are computed from. values: (pattern, operation) on published names. fresh: names that
    a file for starting from lacks, and that training makes up. architectures: of the files with these names.
    counters: whether the files have num_batches_tracked. zero: rules from names that networks of
    ours lack where they are all zero to a name whose first dimension they share. needs: rules from names to others
    that every file with the first ones has, so that a network without them is another one.
    """

    title: str
    when: re.Pattern[str] | None
    rules: tuple[Rule, ...]
    copies: tuple[Rule, ...]
    drop: tuple[re.Pattern[str], ...]
    fill: tuple[tuple[re.Pattern[str], float], ...]
    derive: tuple[Rule, ...]
    values: tuple[tuple[re.Pattern[str], str], ...]
    fresh: tuple[re.Pattern[str], ...] = ()
    architectures: tuple[str, ...] = ()
    counters: bool = False
    zero: tuple[Rule, ...] = ()
    needs: tuple[Rule, ...] = ()

    def concerns(self, names: Iterable[str]) -> bool:
        """Whether the table is about a file with these names."""
        return self.when is None or matches_any(self.when, names)


def matches_any(pattern: re.Pattern[str], names: Iterable[str]) -> bool:
    """Whether one of the names matches as a whole."""
    return any(pattern.fullmatch(name) for name in names)


def calculate(match: re.Match[str]) -> str:
    """`{7-1}`, `{7//2}` and `{7+1}` in a target."""
    left, operator, right = int(match[1]), match[2], int(match[3])
    return str({"-": left - right, "//": left // right, "+": left + right}[operator])


@lru_cache
def table(name: str) -> Table:
    """The table in `renames/NAME.yaml`."""
    content = entries(name)
    return Table(
        title=content["title"],
        when=re.compile(content["when"]) if "when" in content else None,
        rules=(*included(content.get("include", ())), *map(rule, content.get("rules", ()))),
        copies=tuple(map(rule, content.get("copies", ()))),
        drop=tuple(map(re.compile, content.get("drop", ()))),
        derive=tuple(map(rule, content.get("derive", ()))),
        fill=tuple((re.compile(item["name"]), item["value"]) for item in content.get("fill", ())),
        values=tuple((re.compile(item["name"]), item["values"]) for item in content.get("values", ())),
        fresh=tuple(map(re.compile, content.get("fresh", ()))),
        architectures=tuple(content.get("architectures", ())),
        counters=content.get("counters", False),
        zero=tuple(map(rule, content.get("zero", ()))),
        needs=tuple(map(rule, content.get("needs", ()))),
    )


def entries(name: str) -> Mapping[str, Any]:
    """What `renames/NAME.yaml` says."""
    import yaml

    text = files("zoo.checkpoint.convert.renames").joinpath(f"{name}.yaml").read_text()
    content: Mapping[str, Any] = yaml.safe_load(text)
    return content


def included(items: Iterable[Mapping[str, str]]) -> Iterator[Rule]:
    """The rules of other tables, whose names stand behind a prefix."""
    for item in items:
        for entry in entries(item["table"])["rules"]:
            yield rule({**entry, "from": item["prefix"] + entry["from"]})


def rule(item: Mapping[str, Any]) -> Rule:
    """One entry of `rules` or `copies`."""
    guard = next(((re.compile(item[key]), key == "if") for key in ("if", "unless") if key in item), None)
    targets = item["to"] if isinstance(item["to"], list) else [item["to"]]
    part = tuple(item["part"]) if "part" in item else None
    return Rule(re.compile(item["from"]), tuple(targets), guard, item.get("values"), item.get("backbone"), part)
