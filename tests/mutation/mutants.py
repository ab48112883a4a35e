"""The mutants of a module: where each is, what it changes, and its code."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterator
from pathlib import Path
from types import CodeType
from typing import Any

from attrs import define, evolve, field
from mutation.operators import OPERATORS

ROOT = Path(__file__).parents[2]
CORE = ROOT / "durable_jobs_core"
SCOPE = sorted([CORE / "step.py", *(CORE / "kinds").rglob("*.py"), *(CORE / "engine").rglob("*.py")])

FORMS = {"annotation", "returns", "decorator_list", "bases", "format_spec"}
"""The parts of a node that say of what form something is."""
NAMES = {"__all__", "__slots__"}


@define(frozen=True)
class Place:
    """Where a node is: as `attribute` (of a list its `index`) of its `parent`, in `scope`.

    `lines`: of the statement, as far as it is no block; `inside` a function, so that it runs after import.
    """

    parent: ast.AST
    attribute: str
    index: int | None
    scope: str = ""
    lines: frozenset[int] = frozenset()
    inside: bool = False

    def put(self, node: ast.AST) -> None:
        """Put another node there."""
        if self.index is None:
            setattr(self.parent, self.attribute, node)
        else:
            getattr(self.parent, self.attribute)[self.index] = node


@define(eq=False)
class Mutant:
    """One change of a module. `name` is the same for as long as the line is; `before`, `after`: the code."""

    path: Path
    place: Place
    node: ast.AST
    new: ast.AST
    text: str
    before: str
    after: str
    nth: int = 0
    tree: ast.Module = field(kw_only=True, repr=False)

    @property
    def module(self) -> str:
        """Its file, from the folder of the core."""
        return str(self.path.relative_to(CORE))

    @property
    def change(self) -> str:
        """What it changes."""
        return f"{self.before} -> {self.after}"

    @property
    def name(self) -> str:
        """What it is called in the memory of earlier runs."""
        return "|".join((self.module, self.place.scope, self.text, self.change, str(self.nth)))

    @property
    def line(self) -> int:
        """Where it is."""
        return min(self.place.lines, default=1)

    def code(self) -> CodeType:
        """The module with the change. The tree stays changed: call it in a process of its own."""
        self.place.put(ast.copy_location(self.new, self.node))
        return compile(ast.fix_missing_locations(self.tree), self.path, "exec", dont_inherit=True)

    def diff(self) -> str:
        """The change as lines of the file, as far as it can be shown there."""
        old = self.path.read_text().splitlines()
        new = list(old)
        if isinstance(self.node, ast.expr | ast.stmt) and self.node.end_lineno is not None:
            first, last = self.node.lineno - 1, self.node.end_lineno - 1
            head = old[first].encode()[: self.node.col_offset].decode()
            tail = old[last].encode()[self.node.end_col_offset :].decode()
            shown = self.after if "\n" not in self.after else f"{self.after.splitlines()[0]} …"
            if isinstance(self.node, ast.If | ast.While | ast.Match):  # only their heads are shown
                last, tail = first, ""
            new[first : last + 1] = [head + shown + tail]
        lines = difflib.unified_diff(old, new, self.module, self.module, n=1, lineterm="")
        return "\n".join(lines)


def mutants_of(path: Path) -> list[Mutant]:
    """All mutants of a module, in the order of its lines."""
    source = path.read_text()
    tree = ast.parse(source)
    lines = source.splitlines()
    found: list[Mutant] = []
    seen: dict[str, int] = {}
    for node, place in _walk(tree, Place(tree, "body", None)):
        before = shown(node)
        for new in OPERATORS.get(type(node), _none)(node):
            line = getattr(node, "lineno", min(place.lines, default=1))
            text = lines[line - 1].strip()
            mutant = Mutant(path, place, node, new, text, before, shown(new), tree=tree)
            nth = seen[mutant.name] = seen.get(mutant.name, -1) + 1
            found.append(evolve(mutant, nth=nth))
    return found


def shown(node: ast.AST) -> str:
    """The code of a node; of a block, its head."""
    code = ast.unparse(node)
    if isinstance(node, ast.Match):
        return f"match {ast.unparse(node.subject)}: {', '.join(map(_case, node.cases))}"
    return code.split("\n")[0] if isinstance(node, ast.stmt) else code


def _case(case: ast.match_case) -> str:
    return ast.unparse(case).split("\n")[0].removeprefix("case ").removesuffix(":")


def _none(node: ast.AST) -> Iterator[ast.AST]:
    return iter(())


def _walk(node: ast.AST, place: Place) -> Iterator[tuple[ast.AST, Place]]:
    """Every node that may be changed, with its place."""
    if _is_form(node):
        return
    if isinstance(node, ast.stmt):
        place = evolve(place, lines=_head(node))
    elif isinstance(node, ast.expr) and node.end_lineno is not None:
        place = evolve(place, lines=place.lines | frozenset(range(node.lineno, node.end_lineno + 1)))
    if not isinstance(node, ast.Module):
        yield node, place
    named = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda)
    scope = f"{place.scope}.{getattr(node, 'name', '<lambda>')}".lstrip(".") if named else place.scope
    for attribute, given in ast.iter_fields(node):
        if attribute in FORMS:
            continue
        enters = named and attribute == "body"
        inside = place.inside or (enters and not isinstance(node, ast.ClassDef))
        within = Place(node, attribute, None, scope if enters else place.scope, place.lines, inside)
        for index, child in enumerate(given) if isinstance(given, list) else [(None, given)]:
            if isinstance(child, ast.AST):
                yield from _walk(child, evolve(within, index=index))


def _head(node: ast.stmt) -> frozenset[int]:
    last: int | None = node.end_lineno
    body: Any = getattr(node, "body", None) or getattr(node, "cases", None)
    if body:
        head: Any = (
            getattr(node, "test", None) or getattr(node, "subject", None) or getattr(node, "iter", None)
        )
        last = head.end_lineno if head is not None else node.lineno
    return frozenset(range(node.lineno, (last or node.lineno) + 1))


def _is_form(node: ast.AST) -> bool:
    """Whether it is no behaviour: types, texts for people, assertions, lists of names."""
    match node:
        case ast.Assert() | ast.JoinedStr() | ast.Import() | ast.ImportFrom() | ast.Expr(ast.Constant()):
            return True
        case ast.If(ast.Name("TYPE_CHECKING")):
            return True
        case ast.Assign([ast.Name(name)], value):
            return name in NAMES or (isinstance(value, ast.Subscript) and name.strip("_")[:1].isupper())
        case ast.AnnAssign(_, ast.Name("TypeAlias")):
            return True
        case ast.Call(ast.Name("TypeVar")):
            return True
        case _:
            return False
