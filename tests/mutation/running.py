"""How a mutant is run: in a fork, by the tests that reach its lines, until one of them fails.

A change inside of functions is put into the functions themselves, in a fork of a process in which all tests
are collected. Any other is made at import, in a fork of a process that has not imported the core yet.
"""

from __future__ import annotations

import gc
import importlib.machinery
import importlib.util
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.abc import MetaPathFinder
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any, NamedTuple

import pytest
from _pytest.runner import runtestprotocol
from coverage import Coverage
from mutation.mutants import CORE, ROOT, Mutant

TESTS = ["tests/core/unit", "tests/core/tables", "tests/core/traces"]
"""What is scored. The machines of `tests/core/properties` take seconds each, for every survivor."""

KILLED, SURVIVED, TIMEOUT, AT_IMPORT = "killed", "survived", "timeout", "at import"
CPU_SECONDS = 60
"""Of one mutant; a test has a second and ten times what it takes without. All is time of the processor, so
that it does not matter how busy the machine is."""
WAITING_SECONDS = 300
MEMORY = 3 << 30


class Verdict(NamedTuple):
    """What became of a mutant, and the test that killed it."""

    outcome: str
    killer: str = ""


class Baseline(NamedTuple):
    """What the tests do without a mutant: seconds of each, and by file and line which tests come there."""

    seconds: dict[str, float]
    reached: dict[str, dict[int, list[str]]]

    @classmethod
    def read(cls, file: Path) -> Baseline:
        """From a file with what `written` gave."""
        return cls.from_text(file.read_text())

    @classmethod
    def from_text(cls, text: str) -> Baseline:
        """What `written` gave."""
        seconds, reached = json.loads(text)
        return cls(seconds, {name: {int(n): t for n, t in lines.items()} for name, lines in reached.items()})

    def written(self) -> str:
        """As text."""
        return json.dumps(self)

    def tests_of(self, mutant: Mutant) -> list[str]:
        """The tests that may see a mutant, quick ones first.

        What is made at import is seen also by tests that run no line of its module, such as its own.
        """
        lines = self.reached.get(mutant.module, {})
        at = mutant.place.lines if mutant.place.inside else lines.keys()
        tests = {test for line in at for test in lines.get(line, ())}
        if not mutant.place.inside:
            own = f"/test_{mutant.module.removesuffix('.py').replace('/_', '/').replace('/', '_')}.py"
            tests |= {test for test in self.seconds if own in test}
            tests = tests or set(self.seconds)
        return sorted(tests, key=self.seconds.__getitem__)


# -- forks


def forked(work: Callable[[], str]) -> tuple[int, int]:
    """Begin `work` in a child; its number, and where its answer can be read."""
    reader, writer = os.pipe()
    child = os.fork()
    if child:
        os.close(writer)
        return child, reader
    status = 1
    try:
        null = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(null, stream)
        os.write(writer, work().encode())
        status = 0
    finally:
        os._exit(status)


def pool(
    mutants: Iterable[Mutant], work: Callable[[Mutant], Verdict], processes: int
) -> Iterator[tuple[Mutant, Verdict]]:
    """Run each mutant in a child of its own, so many at once; in the order in which they end."""
    running: dict[int, tuple[Mutant, int]] = {}

    def first_to_end() -> tuple[Mutant, Verdict]:
        child, status = os.wait()
        mutant, reader = running.pop(child)
        with os.fdopen(reader, "rb") as answer:
            said = answer.read().decode()
        if os.WIFSIGNALED(status):
            return mutant, Verdict(TIMEOUT)
        return mutant, Verdict(*json.loads(said)) if said else Verdict(KILLED)

    def limited(mutant: Mutant) -> str:
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        signal.alarm(WAITING_SECONDS)
        return json.dumps(work(mutant))

    for mutant in mutants:
        child, reader = forked(lambda mutant=mutant: limited(mutant))
        running[child] = mutant, reader
        if len(running) == processes:
            yield first_to_end()
    while running:
        yield first_to_end()


# -- tests


class Session:
    """A pytest plugin: the tests are collected, then `loop` has them."""

    def __init__(self, loop: Callable[[dict[str, pytest.Item]], None]) -> None:
        self._loop = loop

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Instead of running each once."""
        self._loop({item.nodeid: item for item in session.items})
        return True


def with_tests(paths: Sequence[str], loop: Callable[[dict[str, pytest.Item]], None]) -> int:
    """Collect the tests there and give them to `loop`."""
    options = ["-q", "--no-header", "-p", "no:randomly", "-p", "no:cacheprovider", "--capture=no"]
    os.chdir(ROOT)
    return int(pytest.main([*options, *paths], plugins=[Session(loop)]))


def first_failing(items: Sequence[pytest.Item], seconds: Mapping[str, float]) -> str | None:
    """Run tests until one fails. One that takes far longer than `seconds` ends the process."""
    for item, following in zip(items, [*items[1:], None], strict=True):
        signal.setitimer(signal.ITIMER_VIRTUAL, 1 + 10 * seconds[item.nodeid])
        if any(report.failed for report in runtestprotocol(item, nextitem=following, log=False)):
            return item.nodeid
    return None


def judged(items: Sequence[pytest.Item], seconds: Mapping[str, float]) -> Verdict:
    """Whether the tests find the mutant that is in place."""
    killer = first_failing(items, seconds)
    return Verdict(SURVIVED) if killer is None else Verdict(KILLED, killer)


def measure(items: Mapping[str, pytest.Item]) -> Baseline:
    """Run all tests, each once, without a mutant. Call it in a child."""
    coverage = Coverage(data_file=None, source=[str(CORE)], config_file=False, branch=False)
    coverage.start()
    seconds: dict[str, float] = {}
    everything = list(items.values())
    for item, following in zip(everything, [*everything[1:], None], strict=True):
        coverage.switch_context(item.nodeid)
        began = time.process_time()
        reports = runtestprotocol(item, nextitem=following, log=False)
        seconds[item.nodeid] = time.process_time() - began
        if any(report.failed for report in reports):
            raise RuntimeError(f"{item.nodeid} fails without a mutant")
    coverage.stop()
    data = coverage.get_data()
    reached = {
        str(Path(file).relative_to(CORE)): {
            line: [test for test in tests if test] for line, tests in data.contexts_by_lineno(file).items()
        }
        for file in data.measured_files()
    }
    return Baseline(seconds, reached)


# -- mutants inside of functions


def functions(scope: Iterable[Path]) -> dict[tuple[str, str, int], list[FunctionType]]:
    """The functions of some files, by file, name and line."""
    files = {str(path) for path in scope}
    found: dict[tuple[str, str, int], list[FunctionType]] = {}
    for each in gc.get_objects():
        if isinstance(each, FunctionType) and each.__code__.co_filename in files:
            found.setdefault(_key(each.__code__), []).append(each)
    return found


def put_into(found: Mapping[tuple[str, str, int], list[FunctionType]], code: CodeType) -> bool:
    """Give functions the code they have in a mutated module; `False`: it does not fit."""
    for part in code.co_consts:
        if not isinstance(part, CodeType):
            continue
        for function in found.get(_key(part), ()):
            try:
                function.__code__ = part
            except ValueError:
                return False  # another number of variables of the function around it
        if not put_into(found, part):
            return False
    return True


def _key(code: CodeType) -> tuple[str, str, int]:
    return code.co_filename, code.co_qualname, code.co_firstlineno


# -- mutants made at import


class Importer(MetaPathFinder):
    """Imports one module with the code of a mutant."""

    def __init__(self, mutant: Mutant) -> None:
        self._mutant = mutant
        parts = mutant.path.relative_to(ROOT).with_suffix("").parts
        self._name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    def find_spec(self, name: str, path: Any, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        """The module, if it is the one."""
        if name != self._name:
            return None
        file = self._mutant.path
        folder = [str(file.parent)] if file.name == "__init__.py" else None
        loader = _Loader(name, str(file))
        loader.mutant = self._mutant
        return importlib.util.spec_from_file_location(
            name, file, loader=loader, submodule_search_locations=folder
        )


class _Loader(importlib.machinery.SourceFileLoader):
    mutant: Mutant

    def get_code(self, fullname: str) -> CodeType:
        return self.mutant.code()


def at_import(mutant: Mutant, tests: Sequence[str], seconds: Mapping[str, float]) -> Verdict:
    """Import the core with a mutant and run the tests. Call it in a child that has not imported it."""
    sys.meta_path.insert(0, Importer(mutant))
    by_file: dict[str, list[str]] = {}
    for test in tests:
        by_file.setdefault(test.split("::")[0], []).append(test)
    for file, its in by_file.items():
        verdict: list[Verdict] = []

        def loop(found: dict[str, pytest.Item], its=its, verdict=verdict) -> None:
            verdict.append(judged([found[test] for test in its if test in found], seconds))

        with_tests([file], loop)
        if not verdict:
            return Verdict(KILLED, "import")
        if verdict[0].outcome != SURVIVED:
            return verdict[0]
    return Verdict(SURVIVED)
