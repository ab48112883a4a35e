"""Mutants of the step and the kinds that no test can tell from the original."""

from __future__ import annotations

from mutation.explained import Explained

KINDS: tuple[Explained, ...] = (
    Explained(
        "step.py",
        "if record is not None and record.at > env.now:",
        "record.at > env.now -> record.at >= env.now",
        "of two equal instants either is the later: `now` stays what it is",
    ),
    Explained(
        "step.py",
        "if len(body.lost) == LOST_MAX and body.lost[0].run > last:",
        "body.lost[0].run > last -> body.lost[0].run >= last",
        "a lost run with the number `last` was returned by the loop above",
    ),
    Explained(
        "step.py",
        'return Outcome(run=last, result="succeeded", at=0)',
        "0 -> 1",
        "this outcome is stored nowhere, and `observe` tells nobody when it was",
    ),
    Explained(
        "step.py",
        "if alarm is None or 0 <= alarm <= INSTANT_MAX:",
        "0 <= alarm <= INSTANT_MAX -> 0 <= alarm < INSTANT_MAX",
        "the largest instant is what becomes of it two lines below",
    ),
    Explained(
        "step.py",
        "return 0 if alarm < 0 else INSTANT_MAX",
        "alarm < 0 -> alarm <= 0",
        "an alarm of 0 was returned above",
    ),
    Explained(
        "step.py",
        "return 0 if alarm < 0 else INSTANT_MAX",
        "0 -> 1",
        "of the condition: an alarm of 0 was returned above; the other change of this name is found",
    ),
    Explained(
        "kinds/debounce.py",
        "forgotten = max((until for _, until in body.ids), default=0)",
        "0 -> 1",
        "the first millisecond of 1970 has passed as well as the instant before it",
    ),
    Explained(
        "kinds/task/_facts.py",
        'policy = d.definition.on_exhausted if run.hook == "execute" and not unreadable else "park"',
        "'park' -> 'park_'",
        "whatever is neither `terminate` nor `continue` parks",
    ),
)
