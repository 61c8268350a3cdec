// The two panes: what the context held, and what the long-term memory held, at a turn.

const LONG = 500; // characters, or lines, beyond which a text is folded
const LONG_LINES = 8;
const BRIEF = 120; // the same for what has left the context
const PAGE = 60; // entries of a memory that are drawn at once
const KIND_NAMES = {
  system: "system prompt", goal: "goal", example: "example", observation: "observation", assistant: "agent",
  tool_result: "tool result", error: "notice", summary: "summary", memory: "from memory", message: "message",
};
const OP_NAMES = { add: "added", update: "updated", delete: "deleted", same: "unchanged", merge: "merged" };
const OP_SIGNS = { add: "+", update: "~", delete: "−", retrieve: "↩", summary: "Σ", filtered: "⊘", same: "=", merge: "⋈" };

function tag(kind, sign, text) {
  return el("span", { class: `tag ${kind}` }, sign && el("span", { "aria-hidden": true, text: `${sign} ` }), text);
}

// A text that is folded where it is long; `open` remembers which are not, by name.
function foldable(text, view, name, brief) {
  const long = text.length > (brief ? BRIEF : LONG) || text.split("\n", LONG_LINES + 1).length > LONG_LINES;
  const found = view.query && text.toLowerCase().includes(view.query);
  const body = el("div", { class: "text" }, marked(text, view.query));
  if (!long) return body;
  const shut = !view.open.has(name) && !found;
  body.classList.toggle("shut", shut);
  const button = el("button", { type: "button", class: "quiet more", "aria-expanded": String(!shut),
    text: shut ? "Show all" : "Show less", on: { click: () => {
      const now = body.classList.toggle("shut");
      button.textContent = now ? "Show all" : "Show less";
      button.setAttribute("aria-expanded", String(!now));
      if (now) view.open.delete(name);
      else view.open.add(name);
    } } });
  return [body, button];
}

function callText(call) {
  return `${call[0]}(${JSON.stringify(call[1])})`;
}

// --- context -----------------------------------------------------------------------------------

function contextPane(frame, n, view) {
  const sent = frame.items.filter((item) => wasSent(item, n));
  const tokens = frame.turn.call && frame.turn.call.context_tokens;
  const gone = frame.items.filter((item) => item.gone).length;
  const list = el("ol", { class: "messages" });
  let asked = false;
  for (const item of frame.items) {
    if (view.onlySent && !wasSent(item, n)) continue;
    if (!asked && item.turn === n && item.phase === "after" && frame.turn.call) {
      asked = true;
      list.append(el("li", { class: "divider", text: "the model answered here" }));
    }
    list.append(message(item, n, view));
  }
  const toggle = el("label", { class: "check", title: "Only what the model was sent" }, el("input", { type: "checkbox", checked: view.onlySent, on: {
    change: (event) => { view.onlySent = event.target.checked; view.draw(); } } }), "as sent");
  return pane("Context", [plural(sent.length, "message"), tokens && `${count(tokens)} tokens`,
    gone && `${count(gone)} left`], toggle, list, view);
}

function message(item, n, view) {
  const { message: m, gone, old } = item;
  const after = item.turn === n && item.phase === "after";
  const tags = [el("span", { class: "kind", text: KIND_NAMES[m.kind] || m.kind })];
  if (m.kind === "summary") tags.push(tag("summary", OP_SIGNS.summary, "summary"));
  if (gone) tags.push(tag(gone.why === "memory" ? "quietly" : "delete", "⊘", GONE[gone.why] || gone.why));
  else if (item.fresh) tags.push(tag("add", "+", "new"));
  if (old !== null && old !== undefined) tags.push(tag("update", "~", "shortened"));
  return el("li", { class: ["message", `k-${m.kind}`, gone && "gone", after && "after", item.fresh && "fresh"].filter(Boolean).join(" ") },
    el("div", { class: "meta" }, tags, el("span", { class: "dim id", text: `${m.id} · ${count(m.tokens)} tok.` })),
    foldable(m.text, view, m.id, gone),
    m.calls && el("div", { class: "calls" }, m.calls.map((call) => el("code", {}, marked(callText(call), view.query)))),
    old !== null && old !== undefined && el("details", {}, el("summary", { text: "before" }), el("div", { class: "text gone" }, marked(old, view.query))));
}

// --- memory ------------------------------------------------------------------------------------

function memoryPane(frame, payload, view) {
  const touched = frame.entries.filter((one) => one.ops.length || one.rank);
  const rest = frame.entries.filter((one) => !one.ops.length && !one.rank);
  const held = frame.entries.filter((one) => one.there).length;
  touched.sort((a, b) => (b.ops.length > 0) - (a.ops.length > 0) || (a.rank || 99) - (b.rank || 99));
  const list = el("ul", { class: "entries" }, touched.map((one) => entry(one, view)));
  if (touched.length && rest.length) list.append(el("li", { class: "divider", text: `${plural(rest.length, "entry", "entries")} untouched` }));
  more(list, rest, view);
  const queries = frame.retrievals.map((one) => el("p", { class: "query" }, tag("retrieve", OP_SIGNS.retrieve, "asked for"),
    " ", el("q", {}, marked(oneLine(one.query || "", 300), view.query)), el("span", { class: "dim", text: ` ${one.ids.length} found` })));
  const note = payload.unknown && el("p", { class: "warn", text:
    `What it held before is not known: the trace of an earlier task of the stream (${payload.unknown}) is damaged. Shown is what came since.` });
  const empty = !frame.entries.length && el("p", { class: "empty", text: "The memory is empty." });
  return pane("Long-term memory", [plural(held, "entry", "entries")], null, [note, queries, empty, list], view);
}

function more(list, rest, view) {
  for (const one of rest.splice(0, PAGE)) list.append(entry(one, view));
  if (!rest.length) return;
  const item = el("li", { class: "more-entries" }, el("button", { type: "button", text: `Show ${Math.min(PAGE, rest.length)} more of ${count(rest.length)}`,
    on: { click: () => { item.remove(); more(list, rest, view); } } }));
  list.append(item);
}

function entry(one, view) {
  const ops = [...new Set(one.ops)];
  const kinds = { add: "add", update: "update", delete: "delete", merge: "quietly", same: "quietly" };
  const tags = ops.map((op) => tag(kinds[op], OP_SIGNS[op], op === "delete" && one.kept ? "no longer valid" : OP_NAMES[op]));
  if (one.rank) tags.push(tag("retrieve", OP_SIGNS.retrieve, `found, ${one.rank}.`));
  return el("li", { class: ["entry", ...ops.map((op) => `op-${op}`), one.rank && "found", !one.there && "gone"].filter(Boolean).join(" ") },
    tags.length > 0 && el("div", { class: "meta" }, tags),
    foldable(one.text, view, one.id),
    one.old !== null && el("div", { class: "before" }, el("span", { class: "dim", text: "before: " }), el("span", { class: "text gone" }, marked(one.old, view.query))),
    labelsOf(one, view), el("div", { class: "dim id", text: one.id }));
}

const UNTOLD = new Set(["timestamp", "time", "step", "source"]); // labels that say when, or nothing

// An entry's labels; those that the turn changed are marked, with what they were.
function labelsOf(one, view) {
  const rows = [];
  for (const [name, value] of Object.entries(one.labels)) {
    const text = Array.isArray(value) ? value.map(short).join(", ") : short(value);
    if (UNTOLD.has(name) || !text) continue;
    const before = one.oldLabels && JSON.stringify(one.oldLabels[name]) !== JSON.stringify(value);
    rows.push(el("span", { class: `named${before ? " changed" : ""}`, title: before ? `before: ${JSON.stringify(one.oldLabels[name])}` : null },
      el("span", { class: "dim", text: `${name} ` }), marked(text, view.query)));
  }
  return rows.length > 0 && el("div", { class: "labels" }, rows);
}

function short(value) {
  const text = typeof value === "string" ? value : JSON.stringify(value);
  return text.replace(/^([0-9a-f]{8})-[0-9a-f-]{27}$/, "$1…"); // the id of another entry
}

function pane(title, facts, tools, content, view) {
  const id = `${view.name}-${title.split(" ")[0].toLowerCase()}`;
  return el("section", { class: "pane", "aria-labelledby": id },
    el("header", {}, el("h2", { id, text: title }), el("span", { class: "dim", text: facts.filter(Boolean).join(" · ") }), tools),
    el("div", { class: "pane-body", tabindex: 0, role: "region", "aria-labelledby": id }, content));
}
