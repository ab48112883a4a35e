"use strict";
const run = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const GUTTER = 112, NODE = 104, INSTANCE = 262, SPINE = 80;
const COLOURS = {
  deferred: "read", committed: "good", conflicted: "warn", refused: "warn", unknown: "late", "landed late": "late",
  lost: "bad", violates: "bad", "only reads": "read",
};
const GRAVITY = Object.keys(COLOURS);
const QUIET = new Set(["emit", "call", "reply", "note"]);
const SIGNS = {
  call: "→", reply: "←", invoke: "▶", returned: "■", raised: "✗", timedout: "✗", cancelled: "✗", detached: "✗",
  commit: "◆", emit: "·", cancel: "⊘", abandon: "⊘", start: "▲", lost: "✗", damage: "✗", refused: "✗", unknown: "?", conflict: "≠",
  partition: "⚡", outage: "⚡", crash: "✖", stall: "‖", resume: "▶", stop: "▽", closed: "▼",
};

const broken = run.found === null ? undefined : run.events[run.found].key;
run.events.forEach((event, index) => { event.index = index; });
/** The commits of writes that their nodes had given up on. */
const lateOnes = new Set(run.exchanges.flatMap((trip) => trip.told)
  .filter((one) => one.outcome === "landed late").map((one) => `${one.step} ${one.key}`));
const late = (event) => event.what === "commit" && lateOnes.has(`${event.step} ${event.key}`);
const lanesOn = run.lanes.map(() => true), keysOn = run.keys.map(() => true);
let row = 14, chosen = null, places = {}, shown = [], height = 0;

// -- words

function clock(ms) {
  const two = (n, size = 2) => String(n).padStart(size, "0");
  const days = Math.floor(ms / 86400000), rest = ms % 86400000;
  const time = `${two(Math.floor(rest / 3600000))}:${two(Math.floor(rest / 60000) % 60)}:${two(Math.floor(rest / 1000) % 60)}.${two(rest % 1000, 3)}`;
  return days ? `${days}d ${time}` : time;
}

function span(ms) {
  return ms < 1000 ? `${ms} ms` : ms < 60000 ? `${ms / 1000} s` : clock(ms);
}

function brief(event) {
  const by = event.by === undefined ? run.lanes[event.lane] : event.by;
  const said = (event.by === undefined ? event.text : event.text.slice(event.by.length + 1)).replace(/^exchange \d+: the /, "");
  const who = event.key === undefined ? "" : `${by} `;
  const what = event.what === "invoke" || event.what === "commit" ? "" : `${event.what} `;
  return `${SIGNS[event.what] || (event.fault ? "!" : " ")} ${who}${late(event) ? "landed late " : ""}${what}${said}`;
}

function colourOf(lane) {
  const place = run.lanes.filter((name) => /^[cw]\d/.test(name)).indexOf(lane);
  return place < 0 ? "var(--dim)" : `var(--n${place % 6})`;
}

// -- what is drawn, and where

function make(parent, tag, attributes, text) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const name in attributes) node.setAttribute(name, attributes[name]);
  if (text !== undefined) node.textContent = text;
  parent.append(node);
  return node;
}

function visible(event) {
  const lane = event.by === undefined ? event.lane : run.lanes.indexOf(event.by);
  return lanesOn[lane] !== false && (event.key === undefined || keysOn[event.key]);
}

function visibleTrip(trip) {
  if (!$("polls").checked || !lanesOn[trip.lane]) return false;
  return keysOn.every(Boolean) || trip.told.some((one) => one.key !== null && keysOn[one.key]);
}

function layOut() {
  places = { lanes: {}, keys: {}, steps: new Map(), rows: new Map() };
  let x = GUTTER;
  run.lanes.forEach((_, lane) => { if (lanesOn[lane]) { places.lanes[lane] = x; x += NODE; } });
  places.left = x;
  x = 0;
  const order = run.keys.map((_, key) => key).sort((a, b) => (b === broken) - (a === broken) || a - b);
  for (const key of order) if (keysOn[key]) { places.keys[key] = x; x += INSTANCE; }
  places.right = Math.max(x, INSTANCE);

  shown = run.events.filter(visible);
  const steps = new Map(), note = (step, at) => steps.get(step) || steps.set(step, { at, rows: [] }).get(step);
  for (const event of shown) note(event.step, event.at).rows.push(event);
  for (const trip of run.exchanges.filter(visibleTrip)) {
    note(...trip.sent);
    for (const one of trip.told) note(one.step, one.at);
    if (trip.heard) note(...trip.heard);
  }
  if (run.violation !== null) note(...run.end);
  let y = 12, before = null;
  for (const [step, found] of [...steps].sort((a, b) => a[0] - b[0])) {
    if (before !== null && found.at > before) y += (row / 5) * Math.log2(1 + (found.at - before) / 20);
    before = found.at;
    y += found.rows.length ? row / 2 : 1.5;
    places.steps.set(step, y);
    found.rows.forEach((event, number) => places.rows.set(event.index, y + number * row));
    y += found.rows.length ? row * (found.rows.length - 0.5) : 1.5;
  }
  height = y + 60;
}

function rowOf(index) {
  if (index === null) return height - 44;
  if (places.rows.has(index)) return places.rows.get(index);
  const next = shown.find((event) => event.index > index);
  return next ? places.rows.get(next.index) - row / 2 : height - 44;
}

// -- drawing

function draw() {
  layOut();
  const left = $("nodes"), right = $("instances");
  for (const [chart, width] of [[left, places.left], [right, places.right]]) {
    chart.replaceChildren();
    chart.setAttribute("width", width);
    chart.setAttribute("height", height);
  }
  left.classList.toggle("stays", places.left < $("scroller").clientWidth * 0.7);
  drawLanes(left, right);
  for (const band of run.bands) drawBand(left, ...band);
  for (const chart of [left, right]) make(chart, "rect", { class: "row", x: 0, width: "100%", height: row, y: -99 });
  for (const trip of run.exchanges.filter(visibleTrip)) drawTrip(left, trip);
  drawHooks(left, right);
  let told = null;
  for (const event of shown) {
    const y = places.rows.get(event.index);
    if (row >= 8 && event.at !== told) make(left, "text", { x: 4, y, class: "time" }, clock(event.at));
    told = event.at;
    drawEvent(left, right, event, y);
  }
  drawEnd(left, right);
  drawMap();
  $("shown").textContent = `${shown.length} of ${run.events.length} events`
    + (run.dropped ? `; ${run.dropped} before are left out` : "");
  if (chosen !== null) choose(chosen, false);
}

function drawLanes(left, right) {
  for (const [heads, width] of [["node-heads", places.left], ["instance-heads", places.right]]) {
    $(heads).replaceChildren();
    $(heads).style.width = `${width}px`;
  }
  $("node-heads").classList.toggle("stays", left.classList.contains("stays"));
  const head = (x, width, text, on, index, colour) => {
    const [chart, heads] = on === lanesOn ? [left, $("node-heads")] : [right, $("instance-heads")];
    make(chart, "line", { x1: x, x2: x, y1: 0, y2: height, class: "lane" });
    const button = document.createElement("button");
    button.textContent = text;
    button.title = `${text}: show only this, or all again`;
    button.style.left = `${x}px`;
    button.style.width = `${width}px`;
    if (colour) button.style.color = colour;
    if (on === keysOn && index === broken) button.className = "broken";
    button.onclick = () => { only(on, index); };
    heads.append(button);
  };
  if (broken !== undefined && broken in places.keys)
    make(right, "rect", { x: places.keys[broken], y: 0, width: INSTANCE, height, class: "broken-lane" });
  for (const lane in places.lanes)
    head(places.lanes[lane], NODE, run.lanes[lane], lanesOn, Number(lane), colourOf(run.lanes[lane]));
  for (const key in places.keys) head(places.keys[key], INSTANCE, run.keys[key], keysOn, Number(key));
}

function drawBand(chart, from, to, what) {
  const x = places.lanes[run.events[from].lane];
  if (x === undefined) return;
  const y = rowOf(from), until = rowOf(to);
  const box = make(chart, "rect", { x: x + 1, y, width: NODE - 2, height: Math.max(2, until - y), class: `band ${what}` });
  make(box, "title", {}, `${run.lanes[run.events[from].lane]}: ${what}`);
}

function drawHooks(left, right) {
  const busy = {};
  const bar = (chart, name, x, width, from, to, hook) => {
    const taken = (busy[name] = busy[name] || []);
    let slot = taken.findIndex((until) => until <= from);
    if (slot < 0) slot = taken.length;
    taken[slot] = to;
    const failed = hook.ended !== "returned" && hook.ended !== "running";
    const box = make(chart, "rect", {
      x: x + 3 + (slot % 5) * (width + 1), y: from, width, height: Math.max(3, to - from), rx: 2,
      style: `fill: ${colourOf(hook.lane)}; ${failed ? "stroke: var(--bad); stroke-width: 2" : "opacity: .75"}`,
    });
    make(box, "title", {}, `${hook.lane}: ${hook.text}: ${hook.ended}`);
  };
  for (const [from, to, ended] of [...run.hooks].sort((a, b) => a[0] - b[0])) {
    const event = run.events[from];
    if (!visible(event)) continue;
    const hook = { lane: run.lanes[event.lane], text: `${run.keys[event.key]} ${event.text}`, ended };
    bar(left, `lane ${event.lane}`, places.lanes[event.lane], 8, rowOf(from), rowOf(to), hook);
    bar(right, `key ${event.key}`, places.keys[event.key], 6, rowOf(from), rowOf(to), hook);
  }
}

function drawEvent(left, right, event, y) {
  const classes = ["event", event.fault && "fault", event.index === run.found && "found"].filter(Boolean).join(" ");
  const inKey = event.key !== undefined;
  const group = make(inKey ? right : left, "g", { class: classes, id: `event-${event.index}` });
  const x = inKey ? places.keys[event.key] : places.lanes[event.lane];
  const width = inKey ? INSTANCE : NODE;
  make(group, "rect", { class: "cell", x: x + 1, y: y - row / 2, width: width - 2, height: row });
  if (row >= 8) {
    const start = inKey ? 33 : 4, fits = Math.floor((width - start - 2) / 6.7);
    const text = brief(event), own = event.what === "conflict" ? "conflict" : QUIET.has(event.what) ? "quiet" : "";
    const kind = event.fault ? "fault" : late(event) ? "late" : own;
    make(group, "text", { x: x + start, y, class: kind }, text.length > fits ? `${text.slice(0, fits - 1)}…` : text);
  }
  if (inKey && event.lane in places.lanes) {
    const colour = event.fault ? "var(--bad)" : colourOf(event.by === undefined ? run.lanes[event.lane] : event.by);
    const spine = places.lanes[event.lane] + SPINE, size = event.what === "commit" ? 4.5 : 2.2;
    make(left, "path", { d: `M${spine} ${y - size}l${size} ${size}l${-size} ${size}l${-size} ${-size}z`, style: `fill: ${colour}` });
  }
  make(group, "title", {}, `${clock(event.at)} ${run.lanes[event.lane]} ${event.what} ${inKey ? run.keys[event.key] : ""} ${event.text}`);
  group.onclick = () => choose(event.index, true);
  group.onpointerenter = () => detail(event);
  group.onpointerleave = () => { if (chosen !== null) detail(run.events[chosen]); };
}

/** From its node to the store and back; what is lost ends in a cross, what lands late comes dotted. */
function drawTrip(chart, trip) {
  const store = run.lanes.indexOf("store");
  const x = places.lanes[trip.lane] + SPINE;
  const far = store in places.lanes ? places.lanes[store] + SPINE : x + NODE;
  const at = (moment) => places.steps.get(moment[0]);
  const y = at(trip.sent), end = trip.heard ? at(trip.heard) : null, half = (x + far) / 2;
  const answered = trip.told.filter((one) => one.outcome !== "landed late" || trip.lost === "the answer is lost");
  const worst = trip.told.map((one) => one.outcome).concat(trip.lost ? ["lost"] : [])
    .sort((a, b) => GRAVITY.indexOf(b) - GRAVITY.indexOf(a))[0] || "only reads";
  const colour = `var(--${COLOURS[worst] || "warn"})`;
  const group = make(chart, "g", { style: `stroke: ${colour}` });
  const line = (d, kind = "") => make(group, "path", { d, class: `trip ${kind}` });
  const cross = (cx, cy) => line(`M${cx - 4} ${cy - 4}l8 8m0 -8l-8 8`);
  const arrives = answered.length ? places.steps.get(answered[0].step) : end === null ? y + 4 : (y + end) / 2;
  if (trip.lost && trip.lost !== "the answer is lost") {
    line(`M${x} ${y}L${half} ${y + 3}`, "gone");
    cross(half, y + 3);
    for (const one of trip.told) line(`M${half} ${y + 3}L${far} ${places.steps.get(one.step)}`, "late");
  } else {
    line(`M${x} ${y}L${far} ${arrives}`);
    if (trip.lost) {
      line(`M${far} ${arrives}L${half} ${arrives + 4}`, "gone");
      cross(half, arrives + 4);
    } else if (end !== null) line(`M${far} ${arrives}L${x} ${end}`);
    for (const one of trip.told.filter((one) => !answered.includes(one)))
      line(`M${far - 8} ${arrives}L${far} ${places.steps.get(one.step)}`, "late");
  }
  for (const one of trip.told)
    make(group, "circle", { cx: far, cy: places.steps.get(one.step), r: 3, class: "dot", style: `fill: var(--${COLOURS[one.outcome] || "warn"})` });
  make(group, "title", {}, facts(trip).join("\n"));
}

/** An exchange in words. */
function facts(trip) {
  const carries = Object.entries(trip.carries).map((entry) => entry.join(" ")).join(", ");
  return [
    `exchange ${trip.number} of ${run.lanes[trip.lane]}: ${carries}; sent at ${clock(trip.sent[1])}`, trip.lost,
    ...trip.told.map((one) => `${one.key === null ? "" : run.keys[one.key]}: ${one.outcome}, at ${clock(one.at)}`),
    trip.claimed ? `${trip.claimed} rows claimed` : null,
    trip.heard ? `${trip.lost ? "given up" : "answered"} after ${span(trip.heard[1] - trip.sent[1])}` : "not heard of before the end",
  ].filter(Boolean);
}

function drawEnd(left, right) {
  if (run.violation === null) return;
  const y = height - 44, texts = [`VIOLATED at ${clock(run.end[1])}`, run.violation];
  [left, right].forEach((chart, side) => {
    make(chart, "line", { x1: 0, x2: "100%", y1: y, y2: y, class: "end-line" });
    make(chart, "text", { x: 6, y: y + 16, class: "end" }, texts[side]);
  });
}

/** The whole run beside the chart: faults in red, writes that landed late in violet, where one is. */
function drawMap() {
  const map = $("map");
  map.replaceChildren();
  map.setAttribute("viewBox", `0 0 18 ${height}`);
  const thick = Math.max(row / 2, height / 350);
  const tick = (y, colour, x, width) => make(map, "rect", { x, y, width, height: thick, style: `fill: var(--${colour})` });
  for (const event of shown) if (event.fault) tick(places.rows.get(event.index), "bad", 2, 7);
  for (const trip of run.exchanges.filter(visibleTrip))
    for (const one of trip.told) if (!["committed", "deferred"].includes(one.outcome)) tick(places.steps.get(one.step), COLOURS[one.outcome] || "warn", 10, 6);
  if (run.found !== null) make(map, "rect", { x: 0, y: rowOf(run.found) - thick, width: 18, height: 3 * thick, style: "fill: var(--bad)" });
  make(map, "rect", { id: "window", class: "window", x: 0, width: 18 });
  drawWindow();
}

function drawWindow() {
  $("window").setAttribute("y", $("scroller").scrollTop);
  $("window").setAttribute("height", $("scroller").clientHeight);
}
