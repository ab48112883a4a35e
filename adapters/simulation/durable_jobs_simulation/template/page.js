"use strict";
// -- the chosen event

function choose(index, scroll) {
  document.querySelector(".event.chosen")?.classList.remove("chosen");
  chosen = index;
  const event = run.events[index], y = places.rows.get(index);
  detail(event);
  history.replaceState(null, "", `#e${index}`);
  for (const mark of document.querySelectorAll(".row")) mark.setAttribute("y", y === undefined ? -99 : y - row / 2);
  $(`event-${index}`)?.classList.add("chosen");
  if (!scroll || y === undefined) return;
  const box = $("scroller"), x = places.keys[event.key];
  if (y < box.scrollTop + 40 || y > box.scrollTop + box.clientHeight - 80) box.scrollTop = y - box.clientHeight * 0.6;
  const seen = box.clientWidth - ($("nodes").classList.contains("stays") ? places.left : 0);
  if (x !== undefined && (x < box.scrollLeft || x + INSTANCE > box.scrollLeft + seen)) box.scrollLeft = x - (seen - INSTANCE) / 2;
}

function add(parent, tag, text, kind) {
  const node = document.createElement(tag);
  node.textContent = text;
  if (kind) node.className = kind;
  parent.append(node);
  return node;
}

function detail(event) {
  const box = $("detail");
  box.replaceChildren();
  add(box, "h2", `${event.what}${event.key === undefined ? "" : ` ${run.keys[event.key]}`}`, event.fault ? "fault" : "");
  add(box, "p", `${clock(event.at)} · step ${event.step} · ${run.lanes[event.lane]}${event.fault ? " · fault" : ""}`, "dim");
  if (event.index === run.found) add(box, "p", `VIOLATED ${run.violation}`).style.color = "var(--bad)";
  add(box, "p", event.text);
  const wrote = (one) => one.step === event.step && one.key === event.key;
  for (const trip of run.exchanges.filter((trip) => event.key !== undefined && trip.told.some(wrote)))
    for (const fact of facts(trip)) add(box, "p", fact, "dim");
  let commit = event;
  if (event.change === undefined && event.key !== undefined) {
    commit = run.events.slice(0, event.index).findLast((one) => one.key === event.key && one.change);
    add(box, "p", commit ? `The record, as committed at ${clock(commit.at)}:` : "No record was committed before.", "dim");
  }
  if (commit?.change) records(box, commit.change.map((place) => (place === null ? null : run.records[place])));
}

function records(box, [before, after]) {
  const tell = (record, path) => {
    const value = record?.[path];
    return value === undefined ? "" : typeof value === "number" ? clock(value) : value;
  };
  const paths = [...new Set([...Object.keys(before || {}), ...Object.keys(after || {})])];
  const [changed, same] = [[], []];
  const rank = (path) => (/\bstate\b/.test(path) ? 2 : path.startsWith("body.") ? 1 : 0); // first what users wrote
  paths.sort((one, other) => rank(other) - rank(one));
  for (const path of paths) (tell(before, path) === tell(after, path) ? same : changed).push(path);
  const table = (parent, chosen, ...heads) => {
    const rows = add(parent, "table", "");
    const head = add(rows, "tr", "");
    for (const text of heads) add(head, "th", text).scope = "col";
    for (const path of chosen) {
      const line = add(rows, "tr", "");
      add(line, "td", path.replace(/^body\./, ""));
      if (heads.length > 2) add(line, "td", tell(before, path), "was");
      add(line, "td", tell(after, path), heads.length > 2 ? "is" : "");
    }
  };
  table(box, changed, "field", before ? "before" : "before: none", after ? "after" : "after: deleted");
  const rest = add(box, "details", "");
  add(rest, "summary", `${same.length} fields are the same`);
  table(rest, same, "field", "value");
}

// -- what is shown, and the keyboard

function only(on, index) {
  const alone = on[index] && on.every((value, other) => value === (other === index));
  on.forEach((_, other) => { on[other] = alone || other === index; });
  pick();
  draw();
}

function pick() {
  for (const [id, names, on] of [["lanes", run.lanes, lanesOn], ["keys", run.keys, keysOn]]) {
    $(id).replaceChildren();
    names.forEach((name, index) => {
      const label = add($(id), "label", ""), box = add(label, "input", "");
      box.type = "checkbox";
      box.checked = on[index];
      box.onchange = () => { on[index] = box.checked; draw(); };
      label.append(` ${name}`);
    });
  }
}

function step(from, by, wanted) {
  for (let place = shown.findIndex((event) => event.index >= from) + (by > 0 && chosen === null ? 0 : by);
    place >= 0 && place < shown.length; place += by) {
    if (wanted(shown[place])) return choose(shown[place].index, true);
  }
}

const any = () => true;
const same = (event) => chosen === null || event.key === run.events[chosen].key;
const KEYS = {
  ArrowDown: () => step(chosen ?? 0, 1, any), ArrowUp: () => step(chosen ?? 0, -1, any),
  ArrowRight: () => step(chosen ?? 0, 1, same), ArrowLeft: () => step(chosen ?? 0, -1, same),
  f: () => step(chosen ?? 0, 1, (event) => event.fault), F: () => step(chosen ?? 0, -1, (event) => event.fault),
  Home: () => shown.length && choose(shown[0].index, true), End: () => shown.length && choose(shown.at(-1).index, true),
  v: () => run.found !== null && choose(run.found, true),
  "+": () => zoom(row + 2), "-": () => zoom(row - 2),
};

function zoom(to) {
  const share = $("scroller").scrollTop / height;
  row = Math.min(26, Math.max(3, to));
  $("zoom").value = row;
  draw();
  $("scroller").scrollTop = share * height;
}

function goToHash() {
  const place = /^#e(\d+)$/.exec(location.hash);
  if (place && run.events[place[1]]) choose(Number(place[1]), true);
  else if (run.found !== null) choose(run.found, true);
  else add($("detail"), "p", "Choose an event: its record before and after it is told here.", "dim");
}

document.addEventListener("keydown", (press) => {
  if (press.ctrlKey || press.metaKey || press.altKey || press.target.closest("input, summary")) return;
  if (!KEYS[press.key]) return;
  press.preventDefault();
  KEYS[press.key]();
});
$("zoom").oninput = () => zoom(Number($("zoom").value));
$("polls").onchange = draw;
$("tools").onsubmit = (event) => event.preventDefault();
$("all").onclick = () => { lanesOn.fill(true); keysOn.fill(true); pick(); draw(); };
$("scroller").onscroll = drawWindow;
$("map").onclick = (event) => {
  $("scroller").scrollTop = (event.offsetY / $("map").clientHeight) * height - $("scroller").clientHeight / 2;
};
$("violation")?.addEventListener("click", (event) => { event.preventDefault(); choose(run.found, true); $("scroller").focus(); });
addEventListener("hashchange", goToHash);
for (const name of GRAVITY) {
  const key = add($("legend"), "span", "", "key");
  add(key, "span", ["only reads", "lost"].includes(name) ? "╱" : "●").style.color = `var(--${COLOURS[name]})`;
  key.append(name === "violates" ? "violates an invariant" : name);
}
pick();
draw();
goToHash();
document.documentElement.dataset.drawn = shown.length;
