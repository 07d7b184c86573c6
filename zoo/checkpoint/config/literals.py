"""Configuration text -> plain data. The text is parsed, never executed.

Understood are assignments of literals, `dict(...)` calls, names that were assigned before, sums of numbers, texts and
lists, and lists that repeat something. Whatever else a file does (imports, functions, conditions) leaves an `Unknown`,
which is an error only for who needs that value.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from zoo.checkpoint.pickle_reader.limits import check_structure
from zoo.errors import CorruptCheckpoint

MAX_TEXT = 2**19
"""Letters of a configuration. Parsing takes some 150 bytes for each; the longest real ones have about 100,000."""

MAX_LENGTH = 1_000_000
"""Elements of a list, or letters of a text, that a sum may make."""

MAX_REPEATS = 1000
"""Turns of a list comprehension."""

MAX_WORK = 200_000
"""Turns times the parts of what is repeated; a comprehension inside another is not understood."""

MAX_MADE = 10_000_000
"""Elements and letters of all values together."""

MAX_NUMBER = 2.0**64


OBJECT = re.compile(r"<(?:class '[^'\n]*'|[^<>'\n]* at 0x[0-9a-f]+)>")
"""How Python prints a class or a function, which configurations may hold and a dump of them then shows."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """A value that only running the text would tell. line: where it is."""

    text: str
    line: int

    def __repr__(self) -> str:
        return f"{self.text} (line {self.line})"


class Scope(dict[str, object]):
    """Names with their values. made: how much evaluating has made so far; scopes of one text share it."""

    def __init__(self, values: Mapping[str, object], made: list[int]) -> None:
        super().__init__(values)
        self.made = made

    def charge(self, count: int) -> None:
        """Bound what copies of copies take. Raises CorruptCheckpoint."""
        self.made[0] += count
        if self.made[0] > MAX_MADE:
            raise CorruptCheckpoint("has a configuration that makes more and more of little")


OPERATORS: dict[type[ast.operator], Callable[..., object]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}

SEQUENCES = ("list", "tuple", "tensor")

CONSTANTS = {"inf": float("inf"), "nan": float("nan"), "true": True, "false": False, "null": None}


def evaluate_text(text: str) -> dict[str, object]:
    """Name -> value of every assignment. Raises CorruptCheckpoint for text that does not parse, or explodes."""
    if len(text) > MAX_TEXT:
        raise CorruptCheckpoint(f"has a configuration of {len(text):,} characters")
    try:
        tree = ast.parse(OBJECT.sub("unprintable", text))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = f" in line {error.lineno}" if isinstance(error, SyntaxError) else ""
        raise CorruptCheckpoint(f"has a configuration that does not parse{line}: {error}") from None
    values = Scope({}, [0])
    try:
        for statement in tree.body:
            perform(statement, values)
    except RecursionError:
        raise CorruptCheckpoint("has a configuration that nests too deep") from None
    check_structure(values)
    return dict(values)


def perform(statement: ast.stmt, values: Scope) -> None:
    """One top-level statement; only plain assignments have an effect."""
    if isinstance(statement, ast.AnnAssign) and statement.value is not None:
        assign(statement.target, evaluate(statement.value, values), values)
    elif isinstance(statement, ast.Assign):
        value = evaluate(statement.value, values)
        for target in statement.targets:
            assign(target, value, values)
    else:
        for node in ast.walk(statement):  # names that the statement may change are no longer known
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                values[node.id] = Unknown(f"{node.id} as set by a statement", statement.lineno)


def assign(target: ast.expr, value: object, values: Scope) -> None:
    """`name = value`, and `container[key] = value` for a container that was assigned before."""
    if isinstance(target, ast.Name):
        values[target.id] = value
    elif isinstance(target, ast.Subscript):
        container, key = evaluate(target.value, values), evaluate(target.slice, values)
        if isinstance(container, dict) and isinstance(key, str):
            container[key] = value


def evaluate(node: ast.expr, values: Scope) -> object:
    """The value of an expression, or an `Unknown`."""
    kind = EVALUATORS.get(type(node))
    result = kind(node, values) if kind is not None else None
    if isinstance(result, (str, list, dict)):
        values.charge(len(result))
    return unknown(node) if result is None and not is_none(node) else result


def unknown(node: ast.expr) -> Unknown:
    """A value that is not known. The text of a long one is not put together, for it may hold many others."""
    short = node.end_lineno == node.lineno and (node.end_col_offset or 0) - node.col_offset < 200
    text = ast.unparse(node) if short else f"a long {type(node).__name__.lower()}"
    if not short and isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        text = f"{node.func.id}(...)"
    return Unknown(text[:60], node.lineno)


def is_none(node: ast.expr) -> bool:
    """Whether an expression is the literal None, or a name for it."""
    return (isinstance(node, ast.Constant) and node.value is None) or isinstance(node, (ast.Name, ast.Subscript))


def constant(node: ast.Constant, values: Scope) -> object:
    """Texts, numbers and the like; bytes and `...` are of no use in a configuration."""
    return node.value if isinstance(node.value, (str, int, float)) or node.value is None else None


def name(node: ast.Name, values: Scope) -> object:
    """A name that was assigned before."""
    return values.get(node.id, CONSTANTS.get(node.id, Unknown(node.id, node.lineno)))


def sequence(node: ast.List | ast.Tuple | ast.Set, values: Scope) -> object:
    """Lists, tuples and sets, all as lists; `*name` is expanded."""
    result: list[object] = []
    for item in node.elts:
        if isinstance(item, ast.Starred):
            inner = evaluate(item.value, values)
            result += inner if isinstance(inner, list) and len(result) < MAX_LENGTH else [inner]
        else:
            result.append(evaluate(item, values))
    return result


def mapping(node: ast.Dict, values: Scope) -> object:
    """`{key: value, **other}`."""
    result: dict[object, object] = {}
    for key, value in zip(node.keys, node.values):
        collected = evaluate(value, values)
        if key is not None:
            label = evaluate(key, values)
            result[label if isinstance(label, (str, int, float)) else str(label)] = collected
        elif isinstance(collected, dict):
            result |= collected
    return result


def call(node: ast.Call, values: Scope) -> object:
    """`dict(...)`, `list(...)`, `tuple(...)`, `float('inf')`, and `tensor([...])`, which DETR's loss writes there."""
    kind = node.func.id if isinstance(node.func, ast.Name) else ""
    arguments = [evaluate(argument, values) for argument in node.args]
    if kind == "dict":
        return keywords(node, arguments, values)
    if kind in SEQUENCES and len(arguments) < 2 and (kind == "tensor" or not node.keywords):
        inner = arguments[0] if arguments else []
        return list(inner) if isinstance(inner, list) else None
    if kind == "float" and len(arguments) == 1 and isinstance(arguments[0], (str, int, float)):
        try:
            return float(arguments[0])
        except ValueError:
            return None
    return None


def keywords(node: ast.Call, arguments: list[object], values: Scope) -> object:
    """The dictionary of a `dict(...)` call."""
    result: dict[object, object] = {}
    for argument in arguments:
        if not isinstance(argument, dict):
            return None
        result |= argument
    for keyword in node.keywords:
        collected = evaluate(keyword.value, values)
        if keyword.arg is not None:
            result[keyword.arg] = collected
        elif isinstance(collected, dict):
            result |= collected
    return result


def unary(node: ast.UnaryOp, values: Scope) -> object:
    """Signs and `not`."""
    operand = evaluate(node.operand, values)
    if isinstance(node.op, ast.Not) and isinstance(operand, bool):
        return not operand
    if not isinstance(operand, (int, float)):
        return None
    return -operand if isinstance(node.op, ast.USub) else operand if isinstance(node.op, ast.UAdd) else None


def binary(node: ast.BinOp, values: Scope) -> object:
    """Arithmetic on numbers of ordinary size; sums and repetitions of texts and lists of ordinary length."""
    left, right = evaluate(node.left, values), evaluate(node.right, values)
    operation = OPERATORS.get(type(node.op))
    if operation is None or not (numbers(left, right) or joinable(node.op, left, right)):
        return None
    try:
        return operation(left, right)
    except (ArithmeticError, TypeError, ValueError):
        return None


def numbers(*values: object) -> bool:
    """Whether all are numbers that arithmetic cannot blow up."""
    return all(isinstance(value, (int, float)) and abs(value) <= MAX_NUMBER for value in values)


def joinable(kind: ast.operator, left: object, right: object) -> bool:
    """Whether this is `text + text`, `list + list` or `list * number`, and the result not too long."""
    if isinstance(kind, ast.Add):
        pair = (isinstance(left, str) and isinstance(right, str)) or (
            isinstance(left, list) and isinstance(right, list)
        )
        return pair and len(left) + len(right) <= MAX_LENGTH  # type: ignore[arg-type]
    if isinstance(kind, ast.Mult) and isinstance(left, (str, list)) and isinstance(right, int):
        return len(left) * abs(right) <= MAX_LENGTH
    return False


def subscript(node: ast.Subscript, values: Scope) -> object:
    """`name['key']` and `name[0]`."""
    container, key = evaluate(node.value, values), evaluate(node.slice, values)
    missing = unknown(node)
    if isinstance(container, dict) and isinstance(key, (str, int)):
        return container.get(key, missing)
    if isinstance(container, list) and isinstance(key, int) and -len(container) <= key < len(container):
        return container[key]
    return missing


def comprehension(node: ast.ListComp, values: Scope) -> object:
    """`[... for name in range(6)]` and over a list, as configurations repeat a stage."""
    loop = node.generators[0]
    if len(node.generators) > 1 or loop.ifs or not isinstance(loop.target, ast.Name):
        return None
    items = repeated(loop.iter, values)
    parts = list(ast.walk(node.elt))
    if items is None or len(items) > MAX_REPEATS or len(items) * len(parts) > MAX_WORK:
        return None
    if any(isinstance(part, ast.ListComp) for part in parts):
        return None
    values.charge(len(items) * len(values))
    return [evaluate(node.elt, Scope({**values, loop.target.id: item}, values.made)) for item in items]


def repeated(node: ast.expr, values: Scope) -> list[object] | None:
    """What a loop runs over: `range(...)` of numbers, or a list."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "range":
        bounds = [bound for argument in node.args if isinstance(bound := evaluate(argument, values), int)]
        plain = len(bounds) == len(node.args) and 1 <= len(bounds) <= 3 and not node.keywords and 0 not in bounds[2:]
        return list(range(*bounds)[: MAX_REPEATS + 1]) if plain else None
    result = evaluate(node, values)
    return result if isinstance(result, list) else None


EVALUATORS: dict[type[ast.expr], Callable[..., object]] = {
    ast.Constant: constant,
    ast.Name: name,
    ast.List: sequence,
    ast.Tuple: sequence,
    ast.Set: sequence,
    ast.Dict: mapping,
    ast.Call: call,
    ast.UnaryOp: unary,
    ast.BinOp: binary,
    ast.ListComp: comprehension,
    ast.Subscript: subscript,
}
