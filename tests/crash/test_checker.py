"""The checker can fail: a sound log and file, each time with one thing wrong, which it must name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from attrs import define, field
from crash.checker import check
from crash.history import History
from crash.jobs import LIMITS
from crash.log import Line
from crash.store import Held, Store

TICKER, COLLECT, LEDGER, MENDER = (
    "continuous:ticker:a",
    "debounce:collect:a",
    "task:ledger:a",
    "task:mender:a",
)
NOW = 1_000_000


@define
class Scene:
    """A log and a file that agree, for a test to spoil."""

    lines: list[Line] = field(factory=list)
    store: Store = field(factory=lambda: Store(clock=NOW))
    round: int = 1

    def say(self, what: str, **fields: Any) -> Line:
        at = 10.0 * len(self.lines) + 5_000 * self.round
        line = {"what": what, "round": self.round, "at": at, **fields}
        self.lines.append(line)
        return line

    def ask(self, op: str, key: str, event: str | None = None, error: str = "", **result: Any) -> None:
        name = f"{len(self.lines)}"
        self.say("asked", n=name, op=op, key=key, event=event)
        if error:
            self.say("refused", n=name, error=error)
        else:
            self.say("answered", n=name, result=result)

    def run(
        self,
        key: str,
        number: int,
        how: str = "returned",
        hook: str = "execute",
        life: str | None = None,
        **shown: Any,
    ) -> None:
        call = f"call {len(self.lines)}"
        shown = {"attempt": 1, "crashes": 0, **shown}
        self.say("began", call=call, key=key, hook=hook, idem=f"k-{life or LIFE}-{number}", **shown)
        self.say("ended", call=call, how=how)

    def kill(self) -> None:
        self.say("killed")
        self.round += 1
        self.say("opened")

    def hold(self, key: str, wake: int | None, **body: Any) -> None:
        self.store.rows[key] = Held(key=key, life=LIFE, wake=wake, entry=wake, seq=9, body=body)

    def body(self, key: str) -> dict[str, Any]:
        return self.store.rows[key].body

    def find(self, what: str, **fields: Any) -> Line:
        return next(
            line for line in self.lines if line["what"] == what and fields.items() <= {**line}.items()
        )

    def found(self, *, calm: bool = False) -> set[str]:
        return {found.invariant for found in check(History.of(self.lines), self.store, calm=calm)}


LIFE, OTHER_LIFE = "00000000000000aa", "00000000000000bb"


def scene() -> Scene:
    """A bit of everything, through one kill."""
    s = Scene()
    s.say("opened")
    s.ask("start", TICKER)
    s.run(TICKER, 1, n=0, run_count=1)
    s.run(TICKER, 2, how="raised", n=1, run_count=2)
    s.run(TICKER, 2, attempt=2, n=1, run_count=2)
    for seq in (1, 2, 3):
        s.say("emitted", key=TICKER, life=LIFE, seq=seq, type="job.executed")
    for event in ("e1", "e2", "e3"):
        s.ask("add", COLLECT, event)
    s.run(COLLECT, 1, events=["e1", "e2"], count=2)
    s.ask("add", COLLECT, "e1", error="DuplicateEventError")
    s.ask("add", COLLECT, "e9", error="OverloadedError")
    for event in ("t1", "t2", "t3", "t4"):
        s.ask("send", LEDGER, event)
    s.run(LEDGER, 1, mark="m", seen=["t1"], handled=[])
    s.say("probed", key=LEDGER, before="x", after="x")
    s.ask("send", MENDER, "m1")
    s.ask("terminate", MENDER, terminated=True, was_running=False)
    s.say("asked", n="lost", op="send", key=LEDGER, event="t5")
    s.kill()
    s.say("emitted", key=TICKER, life=LIFE, seq=5, type="job.executed")  # 4 was given to nobody: a crash
    s.run(LEDGER, 2, how="", mark="m", seen=["t1"], handled=[])
    s.say("settled", left=[])
    s.hold(TICKER, NOW, runs=2, state=[1, {"n": 2, "last": ""}], next_at=NOW)
    s.hold(COLLECT, NOW, runs=1, window={"state": [1, ["e3"]], "count": 1, "due_at": NOW}, ids=[])
    s.hold(
        LEDGER,
        NOW + 500,
        runs=2,
        run={"number": 2, "hook": "execute", "lease": [7, 7, NOW, NOW + 500]},
        state=[1, {"mark": "m", "seen": ["t1", "t2"], "handled": [], "executed": 1, "mended": 0}],
        inbox=[{"event": {}, "id": "t3"}],
        dead=[{"event": {}, "id": "t4", "failure": {}, "at": NOW}],
        event_count=2,
        execute_count=2,
    )
    return s


def test_nothing_is_found_where_nothing_is_wrong() -> None:
    assert scene().found(calm=True) == set()


def test_S_67_an_attempt_handed_back_by_a_process_that_is_killed_while_it_stops_is_made_again() -> None:
    s = scene()
    s.run(TICKER, 3, how="cancelled", n=2, run_count=3, attempt=2)
    s.say("killed", how="stopping")
    s.kill()
    s.run(TICKER, 3, n=2, run_count=3, attempt=2)
    s.body(TICKER).update(runs=3, state=[1, {"n": 3, "last": ""}])

    assert s.found() == set()


def test_S_11_a_stalled_process_may_begin_late_what_another_has_taken_over() -> None:
    s = scene()
    s.run(TICKER, 3, n=2, run_count=3, crashes=1, since=30_000)
    late = {"n": 2, "run_count": 3, "attempt": 1, "crashes": 0, "since": 29_000}
    s.say("began", call="late", key=TICKER, hook="execute", idem=f"k-{LIFE}-3", **late)
    s.body(TICKER).update(runs=3, state=[1, {"n": 3, "last": ""}])

    assert s.found() == set()


def test_S_36_a_stalled_process_may_begin_late_what_ran_when_its_life_was_ended_whatever_is_ended_since() -> (
    None
):
    s = scene()
    s.ask("terminate", TICKER, terminated=True, was_running=True)
    s.ask("start", TICKER)
    s.run(TICKER, 1, life=OTHER_LIFE, n=0, run_count=1)
    s.ask("terminate", TICKER, terminated=True, was_running=False)
    del s.store.rows[TICKER]
    s.run(TICKER, 3, n=2, run_count=3)

    assert s.found() == set()


Spoil = Callable[[Scene], None]


def spoiled(invariant: str, what: str) -> Callable[[Spoil], Spoil]:
    """Register a way to spoil the scene, with the invariant that must say so."""

    def register(spoil: Spoil) -> Spoil:
        CASES.append(pytest.param(invariant, spoil, id=f"{invariant} {what}"))
        return spoil

    return register


CASES: list[Any] = []


@spoiled("I-1", "an event of a window is lost")
def _(s: Scene) -> None:
    del s.body(COLLECT)["window"]
    s.store.rows[COLLECT].wake = s.store.rows[COLLECT].entry = 0


@spoiled("I-1", "an event of an inbox is lost")
def _(s: Scene) -> None:
    del s.body(LEDGER)["inbox"]


@spoiled("I-1", "a dead letter is lost")
def _(s: Scene) -> None:
    del s.body(LEDGER)["dead"]


@spoiled("I-1", "an instance is lost with its events")
def _(s: Scene) -> None:
    del s.store.rows[LEDGER]


@spoiled("I-1", "an event is applied twice")
def _(s: Scene) -> None:
    s.body(LEDGER)["state"][1]["seen"].append("t1")


@spoiled("I-1", "an event is applied and still queued")
def _(s: Scene) -> None:
    s.body(LEDGER)["inbox"].append({"event": {}, "id": "t1"})


@spoiled("I-1", "an event that nobody knew of was taken twice")
def _(s: Scene) -> None:
    s.body(LEDGER)["state"][1]["seen"] += ["t5", "t5"]
    s.body(LEDGER)["event_count"] += 2


@spoiled("I-1", "an event with an id that was taken is accepted again")
def _(s: Scene) -> None:
    s.ask("send", LEDGER, "t2")


@spoiled("I-1", "an event is applied in a life and again in the next")
def _(s: Scene) -> None:
    s.ask("send", MENDER, "m2")
    shown = {"mark": "old", "seen": ["m2"], "handled": [], "attempt": 1, "crashes": 0}
    s.say("began", call="end", key=MENDER, hook="on_event", event="m3", idem="k-bb-1", **shown)
    s.say("ended", call="end", how="terminated")
    s.hold(MENDER, None, event_count=1, state=[1, {"mark": "new", "seen": ["m2"], "handled": []}])


@spoiled("I-1", "more is gone than was said to be dropped")
def _(s: Scene) -> None:
    del s.body(COLLECT)["window"]
    s.ask("clear", COLLECT, discarded_events=0)


@spoiled("I-2", "a batch is delivered under two keys")
def _(s: Scene) -> None:
    s.run(COLLECT, 2, events=["e1", "e2"], count=2)
    s.body(COLLECT)["runs"] = 2


@spoiled("I-2", "an event is in a batch and in the window")
def _(s: Scene) -> None:
    s.body(COLLECT)["window"].update(state=[1, ["e3", "e1"]], count=2)


@spoiled("I-2", "one key is given different events")
def _(s: Scene) -> None:
    s.run(COLLECT, 1, events=["e1", "e2", "e7"], count=3, crashes=1)


@spoiled("I-2", "a batch that failed is gone")
def _(s: Scene) -> None:
    s.find("ended", call=s.find("began", key=COLLECT)["call"])["how"] = "raised"


@spoiled("I-3", "two attempts of a life at once")
def _(s: Scene) -> None:
    for call, run in (("one", 3), ("two", 4)):
        shown = {"n": 2, "run_count": run, "attempt": 1, "crashes": 0}
        s.say("began", call=call, key=TICKER, hook="execute", idem=f"k-{LIFE}-{run}", **shown)


@spoiled("I-4", "an alarm is later than due work")
def _(s: Scene) -> None:
    s.store.rows[TICKER].wake = s.store.rows[TICKER].entry = NOW + 1


@spoiled("I-4", "a schedule has no alarm")
def _(s: Scene) -> None:
    s.store.rows[COLLECT].wake = s.store.rows[COLLECT].entry = None


@spoiled("I-4", "an index entry is missing")
def _(s: Scene) -> None:
    s.store.rows[TICKER].entry = None


@spoiled("I-4", "a claim holds an entry for too long")
def _(s: Scene) -> None:
    s.store.rows[TICKER].entry, s.store.rows[TICKER].moved = NOW + LIMITS.hold + 1, True


@spoiled("I-4", "a lease ends unwatched")
def _(s: Scene) -> None:
    s.body(LEDGER)["run"]["lease"][3] -= 1


@spoiled("I-4", "nothing is to apply the inbox")
def _(s: Scene) -> None:
    s.body(LEDGER)["run"].update(lease=None, due=NOW)
    s.store.rows[LEDGER].wake = s.store.rows[LEDGER].entry = NOW


@spoiled("I-4", "a retry waits for nothing")
def _(s: Scene) -> None:
    s.body(TICKER).update(runs=3, run={"number": 3, "hook": "execute", "attempt": 2})
    s.store.rows[TICKER].wake = s.store.rows[TICKER].entry = None


@spoiled("I-5", "an event outlives a terminate")
def _(s: Scene) -> None:
    s.hold(MENDER, None, event_count=1, state=[1, {"mark": "m", "seen": ["m1"], "handled": []}])


@spoiled("I-5", "an instance outlives a terminate")
def _(s: Scene) -> None:
    s.hold(MENDER, None)


@spoiled("I-5", "an attempt of a terminated life begins")
def _(s: Scene) -> None:
    s.ask("terminate", TICKER, terminated=True, was_running=False)
    del s.store.rows[TICKER]
    s.run(TICKER, 3, n=2, run_count=3)


@spoiled("I-5", "an attempt of the second life that was terminated begins")
def _(s: Scene) -> None:
    s.ask("terminate", TICKER, terminated=True, was_running=False)
    s.ask("start", TICKER)
    s.run(TICKER, 1, life=OTHER_LIFE, n=0, run_count=1)
    s.ask("terminate", TICKER, terminated=True, was_running=False)
    del s.store.rows[TICKER]
    s.run(TICKER, 2, life=OTHER_LIFE, n=1, run_count=2)


@spoiled("I-5", "after a kill, an attempt of a terminated life begins")
def _(s: Scene) -> None:
    s.ask("terminate", TICKER, terminated=True, was_running=True)
    del s.store.rows[TICKER]
    s.kill()
    s.run(TICKER, 3, n=2, run_count=3)


@spoiled("I-6", "run_count is too high")
def _(s: Scene) -> None:
    s.body(TICKER)["runs"] = 3


@spoiled("I-6", "a run is told another run_count")
def _(s: Scene) -> None:
    s.find("began", run_count=1)["run_count"] = 2


@spoiled("I-6", "a success is not in the state")
def _(s: Scene) -> None:
    s.body(TICKER)["state"][1]["n"] = 1


@spoiled("I-6", "a failure is in the state")
def _(s: Scene) -> None:
    s.find("ended", how="returned")["how"] = "raised"


@spoiled("I-6", "execute_count is too low")
def _(s: Scene) -> None:
    s.body(LEDGER)["execute_count"] = 1


@spoiled("I-6", "event_count is too high")
def _(s: Scene) -> None:
    s.body(LEDGER)["event_count"] = 3


@spoiled("I-6", "a window counts wrong")
def _(s: Scene) -> None:
    s.body(COLLECT)["window"]["count"] = 2


@spoiled("I-6", "a batch is told another event_count")
def _(s: Scene) -> None:
    s.find("began", key=COLLECT)["count"] = 3


@spoiled("I-6", "more attempts than the policy allows")
def _(s: Scene) -> None:
    for attempt in (1, 2, 3, 4):
        s.run(TICKER, 3, how="raised", n=2, run_count=3, attempt=attempt)
    s.body(TICKER)["runs"] = 3


@spoiled("I-6", "more crashes than allowed")
def _(s: Scene) -> None:
    key = "continuous:slow:a"
    for crashes in (0, 1, 2):
        s.run(key, 1, how="", n=0, run_count=1, crashes=crashes)
        s.kill()
    lease = [7, 7, NOW, NOW]
    s.hold(key, NOW, runs=1, run={"number": 1, "hook": "execute", "lease": lease}, state=[1, {"n": 0}])


@spoiled("I-6", "an attempt lost with its process is not counted")
def _(s: Scene) -> None:
    for kill in (True, False):
        s.run(TICKER, 3, how="", n=2, run_count=3, attempt=2)
        if kill:
            s.kill()
    lease = [7, 7, NOW, NOW]
    s.body(TICKER).update(runs=3, run={"number": 3, "hook": "execute", "lease": lease})


@spoiled("I-6", "an attempt handed back at a shutdown is counted as a crash")
def _(s: Scene) -> None:
    s.run(TICKER, 3, how="cancelled", n=2, run_count=3, attempt=2)
    s.say("stopped")
    s.kill()
    s.run(TICKER, 3, n=2, run_count=3, attempt=2, crashes=1)
    s.body(TICKER).update(runs=3, state=[1, {"n": 3, "last": ""}])


@spoiled("I-6", "an attempt is counted that did not fail")
def _(s: Scene) -> None:
    s.find("ended", how="raised")["how"] = "returned"


@spoiled("I-6", "a run is over that never ended")
def _(s: Scene) -> None:
    s.find("ended", how="returned")["how"] = ""


@spoiled("I-7", "a run is executed before its commit")
def _(s: Scene) -> None:
    s.run(LEDGER, 3, mark="m", seen=["t1"], handled=[], hook="on_event")


@spoiled("I-7", "a hook is shown an event that is not committed")
def _(s: Scene) -> None:
    s.find("began", key=LEDGER)["seen"] = ["t1", "t7"]


@spoiled("I-7", "a hook is shown a state that is not committed")
def _(s: Scene) -> None:
    s.find("began", n=1)["n"] = 5


@spoiled("I-7", "telemetry is ahead of the file")
def _(s: Scene) -> None:
    s.store.rows[TICKER].seq = 4


@spoiled("I-7", "telemetry is given twice")
def _(s: Scene) -> None:
    s.find("emitted", seq=5)["seq"] = 3


@spoiled("I-7", "telemetry is missing in a process")
def _(s: Scene) -> None:
    s.find("emitted", seq=3)["seq"] = 4


@spoiled("I-4", "an alarm had to be repaired")
def _(s: Scene) -> None:
    s.find("emitted", seq=3)["type"] = "alarm.repaired"


@spoiled("file", "a store went back behind a commit")
def _(s: Scene) -> None:
    s.say("emitted", key=LEDGER, life=LIFE, seq=None, type="history.regressed")


@spoiled("I-7", "what was started is not there")
def _(s: Scene) -> None:
    del s.store.rows[TICKER]


@spoiled("I-8", "work is left when all is at rest")
def _(s: Scene) -> None:
    s.find("settled")["left"].append([LEDGER, "inbox"])


@spoiled("I-8", "it does not come to rest")
def _(s: Scene) -> None:
    s.lines.remove(s.find("settled"))


@spoiled("I-9", "a refused request changes the stored bytes")
def _(s: Scene) -> None:
    s.find("probed")["after"] = "y"


@spoiled("I-9", "a refused event is taken")
def _(s: Scene) -> None:
    s.body(COLLECT)["window"].update(state=[1, ["e3", "e9"]], count=2)


@spoiled("S-51", "events are applied in another order")
def _(s: Scene) -> None:
    s.body(LEDGER)["state"][1]["seen"].reverse()


@spoiled("file", "a record cannot be read")
def _(s: Scene) -> None:
    s.store.damage.append("frame or checksum is wrong")


@pytest.mark.parametrize(("invariant", "spoil"), CASES)
def test_what_is_wrong_is_reported_by_its_name(invariant: str, spoil: Spoil) -> None:
    s = scene()

    spoil(s)

    assert invariant in s.found(calm=True)
