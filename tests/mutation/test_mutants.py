"""The mutants: what stands in the place of what, and what is left alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from mutation import mutants
from mutation.explained_engine import ENGINE
from mutation.explained_kinds import KINDS
from mutation.mutants import SCOPE, mutants_of

M = "match a: 1 if b, _ -> match a: "


def changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> set[str]:
    monkeypatch.setattr(mutants, "CORE", tmp_path)
    file = tmp_path / "sample.py"
    file.write_text(code)
    found = mutants_of(file)
    names = [mutant.name for mutant in found]
    assert len(set(names)) == len(names)
    return {mutant.change for mutant in found}


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("a < b", {"a < b -> a <= b", "a < b -> a >= b"}),
        ("a is b", {"a is b -> a is not b"}),
        ("a and b", {"a and b -> a or b", "a and b -> a", "a and b -> b"}),
        ("not a", {"not a -> a"}),
        ("a + b", {"a + b -> a - b"}),
        ("A | B", {"A | B -> A", "A | B -> B"}),
        ("b if a else c", {"b if a else c -> b if True else c", "b if a else c -> b if False else c"}),
        ("[a for a in b if a]", {" for a in b if a ->  for a in b"}),
        ("f(7, a=b)", {"7 -> 8", "f(7, a=b) -> f(7)"}),
        ("max(a, b)", {"max(a, b) -> min(a, b)"}),
        ("to(f, A, B)", {"to(f, A, B) -> to(f, B)", "to(f, A, B) -> to(f, A)"}),
        ("{A: b, **c}", {"{A: b, **c} -> {**c}", "{A: b, **c} -> {A: b}"}),
        ("(a, b)", {"(a, b) -> (b,)", "(a, b) -> (a,)"}),
        ("a[:b]", {":b -> :"}),
        ("'word'", {"'word' -> 'word_'"}),
        ("'a text for people'", set[str]()),
        ("f'{a + b} things'", set[str]()),
    ],
)
def test_an_expression_is_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, expected: set[str]
) -> None:
    assert changes(tmp_path, monkeypatch, f"x = {code}") == expected


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("if a:\n    b()", {"if a: -> if True:", "if a: -> if False:", "b() -> pass"}),
        ("while a:\n    break", {"while a: -> while False:", "break -> continue"}),
        ("a.b = c", {"a.b = c -> pass"}),
        ("a = f(a)", {"a = f(a) -> pass"}),
        ("a += b", {"a += b -> a -= b", "a += b -> pass"}),
        ("raise a", {"raise a -> pass"}),
        ("def f():\n    return a", {"return a -> return None"}),
        ("def f():\n    return", {"return -> pass"}),
        ("match a:\n    case 1 if b: c()\n    case _: pass", {M + "_", M + "1, _", "c() -> pass"}),
    ],
)
def test_a_statement_is_changed_or_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, expected: set[str]
) -> None:
    assert changes(tmp_path, monkeypatch, code) - {"1 -> 2"} == expected


@pytest.mark.parametrize(
    "code",
    [
        '"""word"""',
        "assert a < b",
        "def f(a: A | B) -> A | B: ...",
        "__all__ = ['f', 'g']",
        "if TYPE_CHECKING:\n    f(a, b)",
        "Alias: TypeAlias = A | B",
        "T = TypeVar('T', bound=A)",
        "@define(eq=False)\nclass A(B[C, D]): ...",
    ],
)
def test_what_is_no_behaviour_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    assert changes(tmp_path, monkeypatch, code) == set()


def test_every_explanation_is_of_a_mutant() -> None:
    rows = {(m.module, m.text, m.change) for path in SCOPE for m in mutants_of(path)}

    assert [each for each in ENGINE + KINDS if each[:3] not in rows] == []
