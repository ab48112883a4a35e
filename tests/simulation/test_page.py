"""The page of a trace: what is in it, that it stays in its place, and that a browser draws it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from durable_jobs_simulation import Faults, Simulation, Trace, Violation, simulate, sleep
from durable_jobs_simulation.cli import main

from durable_jobs_core import Continuous, ContinuousContext, Jobs, create_durable_jobs, every
from durable_jobs_core.engine import Limits

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
HOSTILE = '</script><img src=x onerror="document.title=1"><!--{{data}}'
LATE = Faults(unknown=0.3, lost_request=0.1, lost_answer=0.1, partition=0.02, crash=0.05)


async def count(ctx: ContinuousContext[int]) -> None:
    await sleep("2 seconds")
    ctx.set_state(ctx.state + 1)


def jobs() -> Jobs:
    return create_durable_jobs(
        {"tick": Continuous.make(state=int, schedule=every("5 seconds"), execute=count)}
    )


async def hostile(sim: Simulation) -> None:
    await sim.client.continuous("tick").start(HOSTILE, 0)
    sim.say(HOSTILE)
    await sim.sleep("1 minute")


def at_most_two(sim: Simulation) -> None:
    for key, record in sim.records().items():
        assert record.body.runs < 3, f"I-6: {key} ran {record.body.runs} times"


def failing(faults: Faults | None = None) -> Trace:
    """A run that violates an invariant."""
    with pytest.raises(Violation) as caught:
        simulate(
            jobs(), hostile, seed=1, faults=faults or Faults(), limits=Limits(), invariants=(at_most_two,)
        )
    return caught.value.trace


class Page(HTMLParser):
    """The elements of a page, the text of its violation link, and the data in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = [""]
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.texts.append("")

    def handle_data(self, data: str) -> None:
        self.texts[-1] += data

    def text(self, id: str) -> str:
        """What follows the beginning of an element."""
        place = next(n for n, (_, attrs) in enumerate(self.elements) if attrs.get("id") == id)
        return self.texts[place + 1]

    @property
    def data(self) -> Any:
        """What the script reads."""
        return json.loads(self.text("data"))


def test_the_page_links_the_violation_to_the_event_where_it_was_found() -> None:
    trace = failing()
    page = Page(trace.html())

    link = next(attrs for _, attrs in page.elements if attrs.get("id") == "violation")
    event = page.data["events"][int((link["href"] or "").removeprefix("#e"))]

    assert page.text("violation").strip() == trace.violation
    assert event["what"] == "commit"
    before, after = (page.data["records"][place] for place in event["change"])
    assert (before["body.runs"], after["body.runs"]) == ("2", "3")
    assert event["at"] - 20 < after["at"] <= event["at"]  # an instant is told as one of the run


def test_a_violation_that_names_no_instance_is_found_at_the_only_one_there_is() -> None:
    def never(sim: Simulation) -> None:
        sim.say("of no instance")
        assert not sim.records(), "something is left"

    with pytest.raises(Violation) as caught:
        simulate(jobs(), hostile, seed=1, faults=Faults(), limits=Limits(), at_end=(never,))
    data = Page(caught.value.trace.html()).data

    assert "key" not in data["events"][-1]
    assert data["events"][data["found"]]["key"] == 0


def test_the_page_of_a_run_that_held_says_so() -> None:
    trace = simulate(jobs(), hostile, seed=1, faults=Faults(), limits=Limits())

    assert "no invariant was violated" in trace.html()
    assert Page(trace.html()).data["found"] is None


def test_the_same_seed_gives_the_same_page() -> None:
    assert failing(LATE).html() == failing(LATE).html()


def test_what_users_wrote_is_text_in_the_page() -> None:
    trace = failing()
    page = Page(trace.html())
    empty = Page(Trace(seed=1, faults=Faults()).html())

    assert page.data["keys"] == [f"continuous:tick:{HOSTILE}"]
    assert HOSTILE in page.text("violation")
    added = [tag for tag, _ in page.elements]
    for tag, _ in empty.elements:
        added.remove(tag)
    assert added == ["strong", "a"]


def test_the_page_needs_nothing_but_itself() -> None:
    page = Page(failing().html())

    assert not [tag for tag, attrs in page.elements if "src" in attrs or tag == "link"]
    policy = next(a["content"] for _, a in page.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'")


def test_the_page_tells_what_became_of_every_exchange_and_hook() -> None:
    fates: set[str] = set()
    for seed in range(30):
        trace = simulate(jobs(), hostile, seed=seed, faults=LATE, limits=Limits())
        data = Page(trace.html()).data
        fates |= {one["outcome"] for exchange in data["exchanges"] for one in exchange["told"]}
        fates |= {exchange["lost"] for exchange in data["exchanges"]}
        fates |= {ended for _, _, ended in data["hooks"]} | {what for _, _, what in data["bands"]}
        commits = {(one.step, one.key) for one in trace.events if one.what == "commit"}
        told = {
            (step, key) for one in trace.exchanges for step, _, key, what in one.told if what == "committed"
        }
        assert commits == told
        assert len(data["hooks"]) == sum(event.what == "invoke" for event in trace.events)

    assert fates >= {
        *("committed", "conflicted", "unknown", "landed late", None),
        *("the request is lost", "the answer is lost", "the store does not answer"),
        *("returned", "died", "down", "partition"),
    }


def test_only_the_last_events_are_in_the_page_of_a_long_run() -> None:
    trace = failing(LATE)
    data = Page(trace.html(last=20)).data

    assert len(data["events"]) == 20
    assert data["dropped"] == len(trace.events) - 20
    assert data["found"] is not None

    trace.events[-1] = trace.events[-1]._replace(key=None)
    assert Page(trace.html(last=1)).data["found"] == 0, "the one that is named is not there"


def test_the_command_line_writes_a_page(tmp_path: Path) -> None:
    path = tmp_path / "run.html"

    assert main(["run", "tokens", "--seed", "3", "--trace", str(path)]) == 0
    assert Page(path.read_text(encoding="utf-8")).data["events"]


def test_the_page_does_not_depend_on_the_process(tmp_path: Path) -> None:
    pages: set[str] = set()
    for number in ("1", "2"):
        path = tmp_path / f"{number}.html"
        command = ["run", "orders", "--seed", "2", "--trace", str(path)]
        subprocess.run(
            [sys.executable, "-m", "durable_jobs_simulation", *command],
            env={**os.environ, "PYTHONHASHSEED": number},
            capture_output=True,
            check=True,
        )
        pages.add(path.read_text(encoding="utf-8"))

    assert len(pages) == 1


# -- in a browser


def drawn(path: Path, page: str) -> str:
    """The document as a browser has it, once its scripts have run without an error."""
    if BROWSER is None:
        pytest.skip("needs chromium")
    path.joinpath("run.html").write_text(page, encoding="utf-8")
    flags = (
        "--headless --no-sandbox --disable-gpu --disable-background-networking --disable-component-update "
    )
    flags += "--disable-sync --no-first-run --enable-logging=stderr --dump-dom"
    ran = subprocess.run(
        [BROWSER, *flags.split(), f"--user-data-dir={path / 'profile'}", path.joinpath("run.html").as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert "CONSOLE" not in ran.stderr
    return ran.stdout


def test_a_browser_draws_every_event_without_an_error(tmp_path: Path) -> None:
    trace = failing(LATE)
    document = drawn(tmp_path, trace.html())

    ids = re.findall(r'<g class="event[^"]*" id="event-(\d+)"', document)
    assert sorted(map(int, ids)) == list(range(len(trace.events)))
    assert "found chosen" in document
    assert "<img" not in document.split('id="data"')[0]


SESSION = """<script>
const said = [], press = (key) => {
  document.body.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
  said.push(`${key} ${chosen}`);
};
press("Home"); press("ArrowDown"); press("f"); press("End"); press("v");
const values = (one) => one.change?.map((place) => run.records[place]?.["body.state.value"]) ?? [];
choose(run.events.findLastIndex((one) => new Set(values(one)).size === 2));
said.push(`first ${document.querySelector("#detail td").textContent}`);
document.querySelector("#instance-heads button").click();
said.push(`alone ${shown.every((event) => event.key === undefined || event.key === broken)}`);
document.querySelector("#lanes input").click();
said.push(`hidden ${shown.every((event) => event.lane !== 0)}`);
document.querySelector("#all").click();
said.push(`all ${shown.length}`);
document.title = said.join(", ");
</script>"""


def test_the_page_is_used_by_keyboard_and_filtered(tmp_path: Path) -> None:
    trace = failing(LATE)
    document = drawn(tmp_path, trace.html().replace("</body>", f"{SESSION}</body>"))

    fault = next(n for n, event in enumerate(trace.events) if event.fault and n > 1)
    last, found = len(trace.events) - 1, Page(trace.html()).data["found"]
    said = f"Home 0, ArrowDown 1, f {fault}, End {last}, v {found}, first state.value, alone true, "
    said += f"hidden true, all {last + 1}"
    assert f"<title>{said}</title>" in document
