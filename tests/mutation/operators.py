"""What is mutated, as a table: the kind of a node, and functions that name what may stand in its place.

Every function takes a node and yields its replacements; a statement is replaced by `pass` to delete it.
Left alone is what is no behaviour: annotations, docstrings, sentences for people, `__all__`, `__slots__`,
and assertions, which only say what the code around them already ensures.
"""

from __future__ import annotations

import ast
import copy
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

Operator = Callable[[Any], Iterable[ast.AST]]

WORD = re.compile(r"[A-Za-z_]+")
"""Texts that are values. Others are for people."""

COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Div: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitXor,
    ast.BitXor: ast.BitAnd,
}
OPPOSITES = {"min": "max", "max": "min", "any": "all", "all": "any"}


def changed(node: ast.AST, **fields: Any) -> Any:
    """A copy of the node with other fields."""
    new = copy.copy(node)
    for name, given in fields.items():
        setattr(new, name, given)
    return new


def without_each(items: list[Any]) -> Iterator[list[Any]]:
    """The list with one of its items left out, each in turn."""
    for index in range(len(items)):
        yield [*items[:index], *items[index + 1 :]]


def compared(node: ast.Compare) -> Iterator[ast.AST]:
    """`<` is `<=` or `>=`, `is` is `is not`, …"""
    for index, operator in enumerate(node.ops):
        for other in COMPARISONS[type(operator)]:
            yield changed(node, ops=[*node.ops[:index], other(), *node.ops[index + 1 :]])


def connected(node: ast.BoolOp) -> Iterator[ast.AST]:
    """`and` is `or`; one of the conditions is left out."""
    yield changed(node, op=ast.Or() if isinstance(node.op, ast.And) else ast.And())
    for values in without_each(node.values):
        yield changed(node, values=values) if len(values) > 1 else values[0]


def negated(node: ast.UnaryOp) -> Iterator[ast.AST]:
    """`not` and the minus sign are left out."""
    if isinstance(node.op, ast.Not | ast.USub):
        yield node.operand


def calculated(node: ast.BinOp) -> Iterator[ast.AST]:
    """`+` is `-`, …; of `A | B` either is left out."""
    if isinstance(node.op, ast.BitOr):
        yield from (node.left, node.right)
    elif type(node.op) in ARITHMETIC:
        yield changed(node, op=ARITHMETIC[type(node.op)]())


def decided(node: ast.If | ast.IfExp) -> Iterator[ast.AST]:
    """A condition always holds, or never."""
    yield from (changed(node, test=ast.Constant(value)) for value in (True, False))


def never(node: ast.While) -> Iterator[ast.AST]:
    """The loop is not entered."""
    yield changed(node, test=ast.Constant(False))


def unfiltered(node: ast.comprehension) -> Iterator[ast.AST]:
    """A filter is left out."""
    yield from (changed(node, ifs=ifs) for ifs in without_each(node.ifs))


def written(node: ast.Constant) -> Iterator[ast.AST]:
    """Another truth value, number or word."""
    match node.value:
        case bool():
            yield changed(node, value=not node.value)
        case int():
            yield changed(node, value=node.value + 1)
        case str() if WORD.fullmatch(node.value):
            yield changed(node, value=node.value + "_")
        case _:
            pass


def called(node: ast.Call) -> Iterator[ast.AST]:
    """A named argument is left out; `min` is `max`, `any` is `all`."""
    for keywords in without_each(node.keywords):
        yield changed(node, keywords=keywords)
    if isinstance(node.func, ast.Name) and node.func.id in OPPOSITES:
        yield changed(node, func=changed(node.func, id=OPPOSITES[node.func.id]))
    if isinstance(node.func, ast.Name) and node.func.id in ("to", "stay", "fenced"):  # cells of a table
        for phases in without_each(node.args[1:]):
            yield changed(node, args=[node.args[0], *phases])


def listed(node: ast.Tuple | ast.List | ast.Set) -> Iterator[ast.AST]:
    """An item is left out."""
    if isinstance(node, ast.Set) or isinstance(node.ctx, ast.Load):
        yield from (changed(node, elts=elts) for elts in without_each(node.elts))


def mapped(node: ast.Dict) -> Iterator[ast.AST]:
    """An entry is left out."""
    for keys, values in zip(without_each(node.keys), without_each(node.values), strict=True):
        yield changed(node, keys=keys, values=values)


def sliced(node: ast.Slice) -> Iterator[ast.AST]:
    """A bound is left out."""
    if node.lower is not None:
        yield changed(node, lower=None)
    if node.upper is not None:
        yield changed(node, upper=None)


def matched(node: ast.Match) -> Iterator[ast.AST]:
    """A case that does something, or its guard, is left out."""
    for index, case in enumerate(node.cases):
        before, after = node.cases[:index], node.cases[index + 1 :]
        if not isinstance(case.body[0], ast.Pass):
            yield changed(node, cases=[*before, *after])
        if case.guard is not None:
            yield changed(node, cases=[*before, changed(case, guard=None), *after])


def deleted(node: ast.stmt) -> Iterator[ast.AST]:
    """The statement is not there."""
    yield ast.Pass()


def said(node: ast.Expr) -> Iterator[ast.AST]:
    """A call is not made; a docstring stays."""
    if not isinstance(node.value, ast.Constant):
        yield ast.Pass()


def assigned(node: ast.Assign | ast.AnnAssign) -> Iterator[ast.AST]:
    """Something keeps the value it had. A name that had none would fail at once: it is left alone."""
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    if node.value is None:
        return
    used = {part.id for part in ast.walk(node.value) if isinstance(part, ast.Name)}
    if any(not isinstance(target, ast.Name) or target.id in used for target in targets):
        yield ast.Pass()


def increased(node: ast.AugAssign) -> Iterator[ast.AST]:
    """`+=` is `-=`, or not there."""
    if type(node.op) in ARITHMETIC:
        yield changed(node, op=ARITHMETIC[type(node.op)]())
    yield ast.Pass()


def returned(node: ast.Return) -> Iterator[ast.AST]:
    """Nothing is returned; a bare `return` goes on."""
    if node.value is None:
        yield ast.Pass()
    elif not isinstance(node.value, ast.Constant):
        yield changed(node, value=ast.Constant(None))


def looped(node: ast.Break | ast.Continue) -> Iterator[ast.AST]:
    """`break` is `continue`, `continue` is `break`."""
    yield ast.Continue() if isinstance(node, ast.Break) else ast.Break()


OPERATORS: dict[type[ast.AST], Operator] = {
    ast.Compare: compared,
    ast.BoolOp: connected,
    ast.UnaryOp: negated,
    ast.BinOp: calculated,
    ast.If: decided,
    ast.IfExp: decided,
    ast.While: never,
    ast.comprehension: unfiltered,
    ast.Constant: written,
    ast.Call: called,
    ast.Tuple: listed,
    ast.List: listed,
    ast.Set: listed,
    ast.Dict: mapped,
    ast.Slice: sliced,
    ast.Match: matched,
    ast.Expr: said,
    ast.Assign: assigned,
    ast.AnnAssign: assigned,
    ast.AugAssign: increased,
    ast.Delete: deleted,
    ast.Raise: deleted,
    ast.Return: returned,
    ast.Break: looped,
    ast.Continue: looped,
}
