"""Mutants of the engine that no test can tell from the original."""

from __future__ import annotations

from collections.abc import Iterator

from mutation.explained import Explained

_TABLE: dict[tuple[str, str], dict[str, tuple[str, ...]]] = {
    ("_engine.py", "for lane in state.lanes[state.lane_turn :] + state.lanes[: state.lane_turn]:"): {
        "a lane that has its turn twice has an exchange in flight by then, or nothing to ask": (
            ":state.lane_turn -> :",
        ),
    },
    ("_engine.py", "state.stamp += 1"): {
        "stamps are only compared: what counts is that each is larger than the ones before": ("1 -> 2",),
    },
    ("state.py", "self.ids += 1"): {
        "numbers of needs only have to differ from each other": ("1 -> 2",),
    },
    ("state.py", "stamp: int = 0"): {"stamps are only compared, and each is larger": ("0 -> 1",)},
    ("state.py", "ids: int = 0"): {"numbers of needs only have to differ from each other": ("0 -> 1",)},
    ("calls.py", "poll_at: int = 0"): {"`watch` sets it before anybody looks at it": ("0 -> 1",)},
    ("clock.py", "at_t: int = 0"): {"it is looked at once `at` is known, which comes with it": ("0 -> 1",)},
    ("lane.py", "asked_t: int = 0"): {"the first question sets it before anybody looks at it": ("0 -> 1",)},
    ("lane.py", "behind: bool = False"): {
        "the first question sets it; before, there is nothing to write": ("False -> True",),
    },
    ("handlers.py", "until: int = 0"): {
        "`hooks.call` sets it for a leased hook, others have none": ("0 -> 1",)
    },
    ("handlers.py", "renew_at: int = 0"): {
        "`hooks.call` sets it for a leased hook, others have none": ("0 -> 1",),
    },
    ("keeper.py", "stamp: int = -1"): {"either is before the first input": ("1 -> 2",)},
    ("keeper.py", "settling: bool = False"): {
        "it is looked at while writes are lost, and who loses one sets it": ("False -> True",),
    },
    ("clock.py", "if now > self.last:"): {
        "of two equal instants either is the later": ("now > self.last -> now >= self.last",),
    },
    (
        "clock.py",
        "if self.at is not None and clock <= self.at + self.t - self.at_t <= clock + self.t - asked_t:",
    ): {
        "told exactly what it knew it may keep that or take it anew: the sum is the same": (
            "clock <= self.at + self.t - self.at_t <= clock + self.t - asked_t -> "
            "clock < self.at + self.t - self.at_t <= clock + self.t - asked_t",
        ),
    },
    ("calls.py", "if self.earliest is None or t < self.earliest:"): {
        "of two equal times either is the earlier": ("t < self.earliest -> t <= self.earliest",),
        "before the earliest deadline or look the loop finds nothing: the condition only spares it": (
            "if self.earliest is None or t < self.earliest: -> if False:",
            "self.earliest is None or t < self.earliest -> self.earliest is None",
        ),
    },
    ("callers.py", 'hooks.cancel(state, state.handlers.inline[call.key], "lost")'): {
        "what the end of an inline hook means depends on its outcome, not on why it was cancelled": (
            "'lost' -> 'lost_'",
        ),
    },
    ("hooks.py", "if lease is not None:"): {
        "`follow_lease` sets both from the record of the same commit, but then has to file the hook anew": (
            "if lease is not None: -> if False:",
        ),
    },
    ("hooks.py", "invocation.until = lease.until"): {
        "`follow_lease` sets it from the record of the same commit": (
            "invocation.until = lease.until -> pass",
        ),
    },
    ("hooks.py", "elif lease.until > invocation.until:"): {
        "a lease that is not longer is the same: at worst its renewal is asked for twice, in one write": (
            "if lease.until > invocation.until: -> if True:",
            "lease.until > invocation.until -> lease.until >= invocation.until",
        ),
    },
    ("hooks.py", "break"): {
        "the leases come in the order in which they are renewed: none behind it is due": (
            "break -> continue",
        ),
    },
    ("handlers.py", "if last.renew_at > invocation.renew_at:"): {
        "what is in order stays as it is when it is sorted: the condition only spares that": (
            "if last.renew_at > invocation.renew_at: -> if True:",
            "last.renew_at > invocation.renew_at -> last.renew_at >= invocation.renew_at",
        ),
    },
    ("lane.py", "pause = min(BACKOFF_FIRST_MS << min(self.times, 10), BACKOFF_MAX_MS)"): {
        "both are above the longest pause: the inner limit only keeps the number small": ("10 -> 11",),
    },
    ("lane.py", "break"): {"a batch that is full is full for all that come": ("break -> continue",)},
    ("exchanges.py", "if lane.behind or state.t - lane.asked_t > state.limits.lease // 10:"): {
        "what passes more often is harmless: `_lease_anew` looks at the age of each lease": (
            "if lane.behind or state.t - lane.asked_t > state.limits.lease // 10: -> if True:",
            "state.t - lane.asked_t > state.limits.lease // 10 -> "
            "state.t - lane.asked_t >= state.limits.lease // 10",
            "state.t - lane.asked_t -> state.t + lane.asked_t",
            "10 -> 11",
        ),
    },
    ("exchanges.py", "_delay(state, keeper, min(100 << min(entry.conflicts, 6), BACKOFF_MAX_MS))"): {
        "both are above the longest pause: the inner limit only keeps the number small": ("6 -> 7",),
    },
    ("exchanges.py", "counts[job] = counts.get(job, 0) + 1"): {
        "each job that was asked for is in `counts`, and of others no number is looked at": ("0 -> 1",),
    },
    ("exchanges.py", "elif answer.next_wake is not None and answer.claimed:"): {
        "what was claimed has an entry, moved to the end of the hold: there is a next (R-7, R-8)": (
            "answer.next_wake is not None and answer.claimed -> answer.claimed",
        ),
    },
    ("exchanges.py", "for key, row in zip(flight.batch.loads, answer.rows, strict=True):"): {
        "`Answer.fits` has compared the lengths": (
            "zip(flight.batch.loads, answer.rows, strict=True) -> zip(flight.batch.loads, answer.rows)",
            "True -> False",
        ),
    },
    (
        "exchanges.py",
        "for write, keeper, outcome in "
        "zip(flight.batch.writes, flight.keepers, answer.outcomes, strict=True):",
    ): {
        "`Answer.fits` has compared the lengths": (
            "zip(flight.batch.writes, flight.keepers, answer.outcomes, strict=True) -> "
            "zip(flight.batch.writes, flight.keepers, answer.outcomes)",
            "True -> False",
        ),
    },
    ("protocol.py", "per_job: Mapping[Job, int] = field(factory=dict[Job, int])"): {
        "type arguments, which a `dict` does not look at": (
            "(Job, int) -> (int,)",
            "(Job, int) -> (Job,)",
        ),
    },
    ("keeper.py", "return []"): {"either is no queue": ("return [] -> return None",)},
    ("keeper.py", "return False"): {
        "the loop ends all the same: the key is to be read, or a life has ended": ("False -> True",),
    },
    ("keeper.py", "return None if run is None or run.lease is None else run.lease.since"): {
        "what ends a lease that was stepped in the same write deletes, and then there is no `work`": (
            "None if run is None or run.lease is None else run.lease.since -> "
            "None if False else run.lease.since",
            "run is None or run.lease is None -> run is None and run.lease is None",
            "run is None or run.lease is None -> run.lease is None",
            "run is None or run.lease is None -> run is None",
        ),
    },
    ("keeper.py", "queue = self.urgent or (self.requests and self._open_requests())"): {
        "of no requests none is open": ("self.requests and self._open_requests() -> self._open_requests()",),
    },
    ("keeper.py", "awaited = self.writing or self.wants_load or self.lost or self.calling"): {
        "`advance` makes a keeper that has lost writes and nothing to do wait to be read": (
            "self.writing or self.wants_load or self.lost or self.calling -> "
            "self.writing or self.wants_load or self.calling",
        ),
    },
    ("keeper.py", "if leases or entry.brings_slot:"): {
        "`_account` does nothing if both are false: the condition only spares the call": (
            "if leases or entry.brings_slot: -> if True:",
        ),
    },
    (
        "keeper.py",
        "for ending in [later for later in self.requests if isinstance(later.event, TerminateRequested)]:",
    ): {
        "the others are pushed in their order behind each other: the queue is the same": (
            " for later in self.requests if isinstance(later.event, TerminateRequested) -> "
            " for later in self.requests",
        ),
    },
    ("keeper.py", "open_ = settled.landed is None and not final and same(found, self.base)"): {
        "a write that landed left another revision than the base: only a wrong `settle` says otherwise": (
            "settled.landed is None and (not final) and same(found, self.base) -> "
            "not final and same(found, self.base)",
        ),
    },
    ("keeper.py", "if self.row is not None:"): {
        "the row is that of the base, with the same revision": ("if self.row is not None: -> if False:",),
    },
    ("keeper.py", "if self.steps:"): {
        "where nothing was stepped, nothing is undone": ("if self.steps: -> if True:",),
    },
    ("keeper.py", "if self.lost:"): {"of nothing, nothing is cleared": ("if self.lost: -> if True:",)},
    ("keeper.py", "self.work, self.ended = self.base if isinstance(self.base, Record) else None, False"): {
        "`work` is not looked at while the base cannot be read": (
            "self.base if isinstance(self.base, Record) else None -> self.base if True else None",
        ),
    },
    ("keeper.py", "self.work, self.ended = found if isinstance(found, Record) else None, False"): {
        "`work` is not looked at while the base cannot be read": (
            "found if isinstance(found, Record) else None -> found if True else None",
        ),
    },
    ("lane.py", "writes.sort(key=_BY_KEY)"): {
        "no two writes have one key, so that nothing else is compared": (
            "writes.sort(key=_BY_KEY) -> writes.sort()",
        ),
    },
    ("callers.py", "state.ready[keeper.key] = keeper"): {
        "a refused write makes it ready; after the grace all else was refused, or stepped before": (
            "state.ready[keeper.key] = keeper -> pass",
        ),
    },
    ("turn.py", "if keeper.number > state.highest:"): {
        "of two equal numbers either is the larger": (
            "keeper.number > state.highest -> keeper.number >= state.highest",
        ),
    },
}


def _explained() -> Iterator[Explained]:
    for (module, line), reasons in _TABLE.items():
        for why, changes in reasons.items():
            for change in changes:
                yield Explained(f"engine/{module}", line, change, why)


ENGINE = tuple(_explained())
