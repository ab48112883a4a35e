"""A Cluster: what lies on several nodes, slots that move from one to another, nodes that end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from random import Random
from types import SimpleNamespace
from typing import Any, cast

import pytest
from durable_jobs_conformance import Port
from durable_jobs_conformance.histories import History
from durable_jobs_redis import CallRefusedError, RedisBackend, RedisStoreError
from durable_jobs_redis._cluster import Cluster, Topology, _owners
from durable_jobs_redis._names import Names
from durable_jobs_redis._route import Route
from durable_jobs_redis._url import Host, parse
from durable_jobs_redis._wire import Wire
from support.ports import PATIENCE_SECONDS, in_a_hurry, refusal
from support.redis_clusters import RedisCluster, slot_of, wait_until
from support.redis_servers import Server, Space, launch, silent_hosts

from durable_jobs_core.backend import Batch, Claim, Committed, Query, Refused, Row, Unknown, Write
from durable_jobs_core.errors import StorageError
from durable_jobs_core.words import Key

SHARDS = 7
IDS = [f"{n:02}" for n in range(40)]


@pytest.fixture
def port(cluster: RedisCluster) -> Iterator[Port]:
    """A store with one lane, which reaches all nodes."""
    port = Port(Space(f"{cluster.url}?shards={SHARDS}&lanes=1&timeout={PATIENCE_SECONDS}"))
    yield port
    port.close_all()


def shard_of(key: Key) -> int:
    """The shard of a key of such a store."""
    place = Names("durable-jobs", SHARDS, apart=True).place(key)
    assert place is not None
    return place.call


def slot(shard: int) -> int:
    return slot_of(f"{{durable-jobs:{shard}}}:")


def ids_of(shard: int) -> list[str]:
    """Some ids of one shard."""
    return [id for id in map(str, range(200)) if shard_of(Port.key(id)) == shard][:8]


def other(cluster: RedisCluster, node: Server) -> Server:
    """Another node."""
    return cluster.nodes[(cluster.nodes.index(node) + 1) % len(cluster.nodes)]


# -- several nodes at once


def test_a_node_by_the_url_of_a_server_of_its_own_is_said_to_be_one(cluster) -> None:
    urls = [f"{node.url}?namespace={name}" for node in cluster.nodes for name in "ab"]
    refused = [refusal for url in urls if (refusal := why_not(url)) is not None]
    assert refused
    assert all("a node of a Cluster, whose URL begins with redis+cluster://" in text for text in refused)


def why_not(url: str) -> str | None:
    """Why a URL cannot be opened; `None` if it can, as by chance where its keys are on that node."""
    try:
        RedisBackend.open(url).close()
    except RedisStoreError as error:
        return str(error)
    return None


def test_an_exchange_is_one_round_trip_to_each_node(cluster, port, monkeypatch) -> None:
    port.create(*IDS)
    sent: list[tuple[str, int]] = []
    send = Wire.send

    def counting(wire: Wire, commands: Any, behind: Any = ()) -> Any:
        sent.append((wire.server, len(commands)))
        return send(wire, commands, behind)

    monkeypatch.setattr(Wire, "send", counting)
    rows = [port.row(id, b"r1") for id in IDS]
    answer = port.ask(*(Write(row.key, b"r0", row) for row in rows), loads=tuple(row.key for row in rows))
    assert answer.rows == tuple(rows)
    assert sorted(server for server, _ in sent) == sorted(
        f"redis://127.0.0.1:{n.port}" for n in cluster.nodes
    )
    assert sum(count for _, count in sent) == SHARDS


def test_r7_each_lane_claims_what_is_its_own(cluster) -> None:
    port = Port(Space(f"{cluster.url}?shards=16"))
    backend = port.backend
    assert backend.lanes == 3
    rows = [port.row(id, wake=10) for id in IDS]
    for row in rows:
        answer = backend.exchange(backend.lane(row.key), write_of(row))
        assert answer.outcomes == (Committed(),)
    for lane in range(3):
        answer = backend.exchange(lane, claim_of(port))
        mine = {row.key for row in rows if backend.lane(row.key) == lane}
        assert {row.key for row in answer.claimed} == mine != set()
        assert answer.next_wake == 1_000
    assert sorted(port.scan(7)) == IDS
    port.close_all()


def test_r7_as_many_bytes_are_claimed_of_a_shard_as_there_is_room_for(port) -> None:
    port.create(*ids_of(3)[:4], wake=10, blob=b"x" * 100)
    assert [len(port.claim(10, max_bytes=size)) for size in (200, 199, 100)] == [2, 1, 1]


def write_of(row: Row) -> Batch:
    """A batch that creates a row."""
    return Batch(writes=(Write(row.key, None, row),), not_after=2**63 - 1)


def claim_of(port: Port) -> Batch:
    """A batch that claims all that is due."""
    return Batch(claim=Claim({port.JOB: 100}, 10, 1_000), not_after=0)


def test_r5_a_settled_load_shuts_out_a_write_whose_deadline_another_clock_has_set(port) -> None:
    """The clock of the node that set it may be ahead: here a minute."""
    deadline = port.ask().clock + 60_000
    assert port.ask(loads=(port.key("a"),), not_after=deadline, settle=True).rows == (None,)
    outcome = refusal(port, Write(port.key("a"), None, port.row("a")), not_after=deadline)
    assert "deadline" in outcome.reason
    assert port.load("a") is None


def test_a_node_that_hangs_makes_its_own_writes_unknown_and_the_others_are_committed(cluster, port) -> None:
    port.claim(0)  # over connections that are open
    node = cluster.owner(slot(0))
    node.stop()
    try:
        with in_a_hurry(port, only=f":{node.port}"):
            outcomes = port.ask(*(Write(port.key(id), None, port.row(id)) for id in IDS)).outcomes
    finally:
        node.resume()
    cluster.wait_until_whole()
    hung = [id for id, outcome in zip(IDS, outcomes, strict=True) if isinstance(outcome, Unknown)]
    assert {id for id in IDS if cluster.owner(slot(shard_of(port.key(id)))) is node} == set(hung)
    assert {outcome for outcome in outcomes if not isinstance(outcome, Unknown)} == {Committed()}
    assert sorted(port.scan()) == IDS  # what hung was on its way, and has landed


def test_a_node_that_has_no_slots_any_more_is_left_when_another_is_connected_to(cluster) -> None:
    """Where nodes come back under other addresses, what led to each old one would stay open."""
    line = Cluster(Topology(parse(cluster.url_of_all)))
    tags = [f"{{durable-jobs:{shard}}}:" for shard in range(SHARDS)]
    keys = {cluster.owner(slot_of(tag)).port: tag for tag in tags}
    first, second, third = keys
    line.call(("GET", keys[first]))
    line.call(("GET", keys[second]))
    assert {port for _, port in line._wires} == {first, second}
    owners = [(host, third if port == first else port) for host, port in filter(None, line._topology._owners)]
    line._topology._owners = [*owners]

    line.call(("GET", keys[third]))

    assert {port for _, port in line._wires} == {second, third}
    line.close()


def test_a_connection_is_asked_by_one_thread_at_a_time(cluster, port) -> None:
    """As by `scan` or the hints, which ask the Cluster, while `health` asks each node."""
    line = Route(parse(cluster.url)).line()
    told: dict[str, list[Any]] = {"PING": [], "GET": []}
    go = threading.Barrier(2)

    def ask_each_node() -> None:
        go.wait()
        for _ in range(100):
            told["PING"] += [wire.call(("PING",))[0] for wire in line.wires()]

    def ask_the_cluster() -> None:
        go.wait()
        for _ in range(100):
            told["GET"] += line.call(*(("GET", id) for id in IDS[:9]))

    with ThreadPoolExecutor(2) as threads:
        for asking in [threads.submit(ask_each_node), threads.submit(ask_the_cluster)]:
            asking.result()
    line.close()
    assert told == {"PING": [b"PONG"] * 300, "GET": [None] * 900}


def test_who_has_the_slots_of_a_node_that_is_away_is_asked_once_an_exchange(
    cluster, port, monkeypatch
) -> None:
    """Each of its shards is refused, and there may be many."""
    node = cluster.owner(slot(0))
    mine = [id for id in IDS if cluster.owner(slot(shard_of(port.key(id)))) is node]
    assert len({shard_of(port.key(id)) for id in mine}) > 1
    looks: list[Any] = []
    refresh = Topology.refresh
    monkeypatch.setattr(Topology, "refresh", lambda *asked: (looks.append(asked), refresh(*asked)))
    port.ask()
    node.kill()
    try:
        refused = refusal(port, *(Write(port.key(id), None, port.row(id)) for id in mine))
    finally:
        node.start()
    cluster.wait_until_whole()
    assert refused.transient
    assert len(looks) == 1
    port.create(*IDS)


def test_nodes_that_hang_hold_nobody_up_who_asks_for_the_slots(cluster) -> None:
    """Each would do so for its time, one after the other, and a Cluster may have many."""
    with silent_hosts(3) as silent, ThreadPoolExecutor(1) as threads:
        hosts = ",".join([*silent, f"127.0.0.1:{cluster.nodes[0].port}"])
        made = threads.submit(Topology, parse(f"redis+cluster://{hosts}?connect_timeout=60"))
        assert made.result(PATIENCE_SECONDS).masters == Topology(parse(cluster.url)).masters


def test_while_all_nodes_hang_one_lane_asks_for_the_slots_for_all_of_them(cluster, monkeypatch) -> None:
    """If not, each would wait for what those before it ask in vain, and a shutdown for all."""
    asking, coming = threading.Event(), threading.Barrier(3)

    class Queue(AbstractContextManager[None]):
        """A lock that two come to while the first has it."""

        def __init__(self) -> None:
            self._lock = threading.Lock()

        def __enter__(self) -> None:
            if asking.is_set():
                coming.wait(PATIENCE_SECONDS)
            self._lock.acquire()

        def __exit__(self, *error: object) -> None:
            self._lock.release()

    topology = Topology(parse(cluster.url))
    asked: list[Host] = []

    def answers(hosts: list[Host]) -> list[tuple[Host, Exception]]:
        asked.extend(hosts)
        if not asking.is_set():
            asking.set()
            coming.wait(PATIENCE_SECONDS)
        return [(hosts[0], StorageError("it hangs"))]

    monkeypatch.setattr(topology, "_lock", Queue())
    monkeypatch.setattr(topology, "_answers", answers)
    with ThreadPoolExecutor(3) as threads:
        first = threads.submit(topology.refresh)
        assert asking.wait(PATIENCE_SECONDS)
        others = [threads.submit(topology.refresh) for _ in range(2)]
    assert isinstance(first.exception(), RedisStoreError)
    assert [other.exception() for other in others] == [None, None]
    assert sorted(asked) == topology.masters


def test_a_node_that_is_in_no_cluster_is_not_believed(program, cluster) -> None:
    """It knows of no slots: it has not joined yet, or came back empty under an address that a URL names."""
    alone = launch(program, *cluster.options)
    url = f"redis+cluster://127.0.0.1:{alone.port}"
    with pytest.raises(RedisStoreError, match="is in no Cluster"):
        Topology(parse(url))
    topology = Topology(parse(f"{url},127.0.0.1:{cluster.nodes[0].port}"))
    alone.discard()
    assert topology.masters == Topology(parse(cluster.url)).masters


def test_a_node_without_a_name_is_at_the_host_that_was_asked() -> None:
    """As Redis 7 says of itself where it is not told which name it has for others."""
    owners = _owners([[0, 5, [b"one", 1]], [6, 8, [None, 2]], [9, 10, [b"?", 3]]], ("asked", 4))
    assert owners == [("one", 1)] * 6 + [("asked", 2)] * 3 + [None] * (2**14 - 9)

    moved: dict[int, Host] = {}
    topology = SimpleNamespace(server="redis+cluster://asked", moved=moved.__setitem__, owner=moved.get)
    refused = CallRefusedError(topology.server, "MOVED 7 :5", "MOVED")
    assert Cluster(cast(Topology, topology))._is_elsewhere(7, ("asked", 4), refused)
    assert moved == {7: ("asked", 5)}


def test_r10_who_listens_to_a_node_that_hangs_turns_to_another(cluster, port) -> None:
    """A connection on which nothing comes looks like one on which there is nothing to say."""
    listener = Port(Space(f"{cluster.url}?lanes=1&timeout=0.5"))
    assert listener.next_wake() is None
    listener.backend.wait(0)
    channel = Names("durable-jobs", SHARDS).channel(0)
    wait_until(lambda: any(listeners(node, channel) for node in cluster.nodes))
    (node,) = [node for node in cluster.nodes if listeners(node, channel)]
    elsewhere = next(id for id in IDS if cluster.owner(slot(shard_of(port.key(id)))) is not node)
    node.stop()
    try:
        port.create(elsewhere, wake=5)
        began = time.monotonic()
        listener.backend.wait(PATIENCE_SECONDS)
        assert time.monotonic() - began < PATIENCE_SECONDS / 2
    finally:
        node.resume()
    listener.close_all()


def listeners(node: Server, channel: str) -> int:
    """How many listen to a channel at a node."""
    with node.client() as client:
        ((_, count),) = client.pubsub_numsub(channel)
        return int(count)


# -- a slot that moves


def test_a_slot_that_has_moved_is_followed_at_once(cluster, port) -> None:
    ids = ids_of(3)
    port.create(*ids, wake=5)
    node = cluster.owner(slot(3))
    cluster.move(slot(3), other(cluster, node))
    rows = [port.row(id, b"r1", wake=5) for id in ids]
    assert set(port.ask(*(Write(row.key, b"r0", row) for row in rows)).outcomes) == {Committed()}
    assert sorted(port.claim(5)) == sorted(ids)
    assert port.scan() == sorted(ids)
    cluster.move(slot(3), node)
    assert port.load(ids[0]) == rows[0]


@pytest.mark.parametrize("moved", [0, 5, 1_000])
def test_while_a_slot_moves_its_shard_is_refused_and_nothing_is_written(cluster, port, moved) -> None:
    """Its keys are on two nodes: whoever has the clock sees no row that is on the other."""
    ids = ids_of(3)
    rows = port.create(*ids, wake=5)
    target = other(cluster, cluster.owner(slot(3)))
    source = cluster.begin_move(slot(3), target)
    cluster.move_keys(slot(3), source, target, moved)
    for write in (
        Write(port.key(ids[0]), None, port.row(ids[0], b"r1")),
        Write(port.key(ids[1]), b"r0", None),
        Write(port.key("x" + ids[0]), None, port.row("x" + ids[0])),
    ):
        if shard_of(write.key) == 3:
            outcome = refusal(port, write)
            assert outcome.transient
    asks: list[Callable[[], Any]] = [lambda: port.load(ids[0]), lambda: port.load(ids[-1])]
    for ask in asks:
        with pytest.raises(CallRefusedError, match=r"TRYAGAIN|ASK"):
            ask()
    with pytest.raises(StorageError, match=r"TRYAGAIN|ASK"):
        port.backend.scan(Query(), None, 10)
    answer = port.ask(claim=Claim({port.JOB: 10}, 5, 1_005))
    assert answer.claimed == ()
    assert answer.clock < answer.next_wake <= answer.clock + 1_000, "it is not known what is due there"
    assert len(port.create(*ids_of(4))) == 8  # of another shard
    while cluster.move_keys(slot(3), source, target):
        pass
    cluster.end_move(slot(3), source, target)
    assert [port.load(id) for id in ids] == rows
    assert sorted(port.claim(5)) == sorted(ids)
    cluster.move(slot(3), source)


def test_slots_that_move_under_load_lose_no_write_and_do_none_twice(cluster, port) -> None:
    """As in the histories of the conformance kit: the commits of a key form one chain."""
    keys = [Key("task", "mail", id) for id in IDS[:12]]
    done, met, turn = threading.Event(), threading.Event(), threading.Event()

    def move() -> None:
        """A key at a time, and an exchange after each."""
        dice = Random(1)
        try:
            for _ in range(10):
                moving = slot(dice.randrange(SHARDS))
                target = other(cluster, cluster.owner(moving))
                source = cluster.begin_move(moving, target)
                while cluster.move_keys(moving, source, target, 1):
                    turn.clear()
                    assert turn.wait(20)
                cluster.end_move(moving, source, target)
        finally:
            done.set()

    def write(thread: int) -> History:
        told, handle = History(), port.again()
        known: dict[Key, bytes | None] = dict.fromkeys(keys)
        dice, count = Random(thread), 0
        while not done.is_set():
            turn.set()
            count += 1
            chosen = sorted(dice.sample(keys, 3))
            rows = [Row(key, b"%d-%d" % (thread, count), 5, "idle", b"") for key in chosen]
            writes = [Write(row.key, known[row.key], row) for row in rows]
            claim = Claim({port.JOB: 3}, 5, 5)
            for one, outcome in zip(writes, handle.ask(*writes, claim=claim).outcomes, strict=True):
                if isinstance(outcome, Refused):
                    met.set()
                learn(told, known, one, outcome)
        return told

    history = History()
    with ThreadPoolExecutor(3) as threads:
        mover = threads.submit(move)
        for told in threads.map(write, range(2)):
            for key in keys:
                history.became[key] += told.became[key]
                history.seen[key] += told.seen[key]
        mover.result()
    assert met.is_set()
    verify(history, port, keys)
    assert sorted(port.scan(5)) == sorted(key.id for key in keys)


def learn(told: History, known: dict[Key, bytes | None], write: Write, outcome: Any) -> None:
    """What is stored now, after an outcome; one that is unknown is a defect here, where no node fails."""
    if isinstance(outcome, Committed):
        assert write.row is not None
        told.became[write.key].append((write.expected, write.row.revision))
        known[write.key] = write.row.revision
    elif not isinstance(outcome, Refused):
        row = outcome.row
        known[write.key] = None if row is None else row.revision
        told.seen[write.key] += [] if row is None else [row.revision]


def verify(history: History, port: Port, keys: list[Key]) -> None:
    """One chain a key, which ends at what is stored."""
    for key in keys:
        became = history.became[key]
        replaced = [expected for expected, _ in became]
        assert len(set(replaced)) == len(replaced), f"{key}: a revision was replaced twice"
        written = [revision for _, revision in became]
        assert set(replaced) <= {None, *written}
        assert set(history.seen[key]) <= set(written)
        assert [port.load(key.id).revision] == sorted(set(written) - set(replaced), key=str)
