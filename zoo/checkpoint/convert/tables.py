"""Rename tables, read from `renames/*.yaml` when a file does not have the names that the network expects."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

ARITHMETIC = re.compile(r"\{(\d+)(//|-|\+)(\d+)\}")


@dataclass(frozen=True, slots=True)
class Rule:
    """One way to rename.

    guard: (pattern, whether a name of the file must match it). values: how to reorder the rows. backbone: with which
    type of backbone the rule is followed backwards (`inverse`), any if None.
    """

    pattern: re.Pattern[str]
    targets: tuple[str, ...]
    guard: tuple[re.Pattern[str], bool] | None = None
    values: str | None = None
    backbone: str | None = None

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
    file lacks to those that they are computed from. values: (pattern, operation) on published names.
    """

    title: str
    when: re.Pattern[str] | None
    rules: tuple[Rule, ...]
    copies: tuple[Rule, ...]
    drop: tuple[re.Pattern[str], ...]
    fill: tuple[tuple[re.Pattern[str], float], ...]
    derive: tuple[Rule, ...]
    values: tuple[tuple[re.Pattern[str], str], ...]

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
    import yaml

    text = files("zoo.checkpoint.convert.renames").joinpath(f"{name}.yaml").read_text()
    content: Mapping[str, Any] = yaml.safe_load(text)
    return Table(
        title=content["title"],
        when=re.compile(content["when"]) if "when" in content else None,
        rules=tuple(map(rule, content.get("rules", ()))),
        copies=tuple(map(rule, content.get("copies", ()))),
        drop=tuple(map(re.compile, content.get("drop", ()))),
        derive=tuple(map(rule, content.get("derive", ()))),
        fill=tuple((re.compile(item["name"]), item["value"]) for item in content.get("fill", ())),
        values=tuple((re.compile(item["name"]), item["values"]) for item in content.get("values", ())),
    )


def rule(item: Mapping[str, Any]) -> Rule:
    """One entry of `rules` or `copies`."""
    guard = next(((re.compile(item[key]), key == "if") for key in ("if", "unless") if key in item), None)
    targets = item["to"] if isinstance(item["to"], list) else [item["to"]]
    return Rule(re.compile(item["from"]), tuple(targets), guard, item.get("values"), item.get("backbone"))
