// The timeline of turns, and all that happened in one.

const CHANGE_KINDS = [
  ["add", "add", "added"], ["update", "update", "updated"], ["delete", "delete", "deleted"], ["retrieve", "retrieve", "retrieved"],
  ["summary", "summary", "summary"], ["filtered", "delete", "filtered"],
];

function happened(turn) {
  for (const change of turn.after || []) if (change.type === "action") return change.action || "no action";
  const tools = (turn.after || []).filter((change) => change.type === "tool").map((change) => change.name);
  if (tools.length) return tools.join(", ");
  return turn.call ? oneLine(turn.call.text, 80) : "no answer";
}

function timeline(view) {
  const most = Math.max(1, ...view.turns.map((turn) => (turn.call && turn.call.context_tokens) || 0));
  view.rows = view.turns.map((turn, n) => {
    const sums = tally(turn);
    const chips = CHANGE_KINDS.filter(([key]) => sums[key]).map(([key, kind, name]) =>
      el("span", { class: `tag ${kind}`, title: `${sums[key]} ${name}` }, el("span", { "aria-hidden": true, text: OP_SIGNS[key] }),
        count(sums[key]), el("span", { class: "unseen", text: ` ${name}` })));
    if (sums.invalid) chips.push(tag("bad", "!", "invalid"));
    if (sums.faults) chips.push(tag("bad", "!", plural(sums.faults, "fault")));
    const tokens = (turn.call && turn.call.context_tokens) || 0;
    const acts = (turn.after || []).some((change) => change.type === "action");
    return el("li", { role: "option", id: `${view.name}-t${n + 1}`, "aria-selected": "false", class: acts ? "acts" : null, on: {
      click: () => view.go(n) } },
      el("span", { class: "n", text: n + 1 }), el("span", { class: "what", text: oneLine(happened(turn), 90) }),
      el("span", { class: "chips" }, chips),
      el("span", { class: "fill", title: `${count(tokens)} tokens of context` }, strip(`${count(tokens)} tokens of context`,
        svg("rect", { class: "role-agent", x: 0, y: "35%", width: pct(tokens / most), height: "30%" }))));
  });
  view.list = el("ol", { class: "timeline", role: "listbox", tabindex: 0, "aria-label": "Turns" }, view.rows);
  return view.list;
}

// --- one turn ----------------------------------------------------------------------------------

function turnCard(frame, n, view) {
  const { turn } = frame, { call } = turn;
  const facts = [`step ${count(turn.step)}`];
  if (call) facts.push(`${count(call.prompt_tokens)} + ${count(call.completion_tokens)} tokens`, seconds(call.latency_s));
  if (call && call.finish !== "stop" && call.finish !== "tool_calls") facts.push(`ended by ${call.finish}`);
  const events = grouped(changesOf(turn)).map((one) => (Array.isArray(one) ? asked(one, view) : event(one, view))).filter(Boolean);
  return el("section", { class: "turn card", "aria-label": `Turn ${n + 1}` },
    el("header", {}, el("h2", { text: `Turn ${n + 1}` }), el("span", { class: "dim", text: facts.join(" · ") })),
    call && output(call, view), events.length > 0 && el("div", { class: "events" }, events));
}

// Calls of other models in a row are one line: a memory may make forty in a turn.
function grouped(changes) {
  const found = [];
  for (const change of changes.filter((one) => !(one.type === "memory" && WRITES.has(one.op)))) {
    const last = found[found.length - 1];
    if (change.type !== "model_call") found.push(change);
    else if (Array.isArray(last) && last[0].role === change.role) last.push(change);
    else found.push([change]);
  }
  return found;
}

function asked(calls, view) {
  if (calls.length === 1) return event(calls[0], view);
  const sum = (name) => count(calls.reduce((total, call) => total + (call[name] || 0), 0));
  const found = Boolean(view.query) && calls.some((call) => call.text.toLowerCase().includes(view.query));
  return el("details", { class: "event side", open: found }, el("summary", {}, el("span", { class: "label", text: "asks" }),
    `${ROLE_NAMES[calls[0].role] || calls[0].role}: ${plural(calls.length, "call")}`,
    el("span", { class: "dim", text: ` ${sum("prompt_tokens")} + ${sum("completion_tokens")} tokens` })), calls.map((call) => event(call, view)));
}

// What the model wrote: its thought, and the rest without the tags around it.
function output(call, view) {
  const parts = [], pattern = /<(think|tool_call|tool_calls|answer)>([\s\S]*?)(?:<\/\1>|$)/gi;
  let from = 0;
  for (const match of call.text.matchAll(pattern)) {
    const between = call.text.slice(from, match.index).trim();
    if (between) parts.push(["text", between]);
    parts.push([match[1].toLowerCase(), match[2].trim()]);
    from = match.index + match[0].length;
  }
  const rest = call.text.slice(from).trim();
  if (rest) parts.push(["text", rest]);
  const names = { think: "thinks", tool_call: "calls", tool_calls: "calls", answer: "answers", text: "writes" };
  return el("div", { class: "output" },
    parts.map(([kind, text], place) => el("div", { class: `said ${kind}` }, el("span", { class: "label", text: names[kind] }),
      el("div", {}, foldable(text, view, `out-${view.n}-${place}`)))),
    (call.tool_calls || []).map((one) => el("div", { class: "said tool_call" }, el("span", { class: "label", text: "calls" }),
      el("code", {}, marked(callText(one), view.query)))));
}

function event(change, view) {
  const text = (value) => marked(String(value ?? ""), view.query);
  const row = (kind, label, ...content) => el("div", { class: `event ${kind}` }, el("span", { class: "label", text: label }), el("div", {}, content));
  switch (change.type) {
    case "tool":
      return row(change.status === "success" ? "tool" : "tool bad", "tool", el("b", { text: change.name }), " ",
        change.status !== "success" && tag("bad", "!", change.status.replace(/_/g, " ")), el("div", { class: "text shut" }, text(change.content)));
    case "action":
      return [row(change.valid ? "act" : "act bad", "acts", el("code", {}, text(change.action || "nothing")), " ",
        !change.valid && tag("bad", "!", "invalid"), rewardOf(change)),
      row("seen", "sees", foldable(change.observation || "", view, `obs-${view.n}`))];
    case "memory":
      if (change.op === "summary") return row("mem", "memory", tag("summary", OP_SIGNS.summary, `summary of ${change.ids.length} messages`), change.writer && el("span", { class: "dim", text: ` by ${change.writer}` }));
      if (change.op === "merge") return row("mem", "memory", tag("quietly", OP_SIGNS.merge, "merged"), " ", text(change.content));
      return null; // the memory's pane shows it
    case "model_call":
      return el("details", { class: "event side", open: Boolean(view.query) && change.text.toLowerCase().includes(view.query) }, el("summary", {}, el("span", { class: "label", text: "asks" }),
        `${ROLE_NAMES[change.role] || change.role}: ${change.model}`, el("span", { class: "dim", text: ` ${count(change.prompt_tokens)} + ${count(change.completion_tokens)} tokens` })),
      el("div", { class: "text" }, text(change.text)));
    case "malformed": return row("bad", "problem", text(change.problem));
    case "memory_fault": return row("bad", "skipped", el("b", { text: change.op }), " ", text(change.problem));
    case "call_failed": return row("bad", "failed", el("b", { text: change.kind }), " ", text(change.problem));
    case "forfeit": return row("bad", "forfeit", text(change.reason));
    case "judge": return row("mem", "judge", `${change.op}: `, missing(change.score) ? "no score" : share(change.score));
    case "judge_fault": return row("bad", "judge", text(change.problem));
    case "quality": return quality(change, row, text);
    default: return null;
  }
}

function rewardOf(change) {
  const parts = [];
  if (change.reward) parts.push(`reward ${average(change.reward)}`);
  if (!missing(change.progress)) parts.push(`progress ${share(change.progress)}`);
  if (change.done) parts.push(change.success ? "solved" : "over");
  return parts.length > 0 && el("span", { class: "dim", text: ` ${parts.join(" · ")}` });
}

function quality(change, row, text) {
  const scores = Object.entries(change.scores || {}).filter(([, value]) => !missing(value));
  const facts = change.facts || [];
  return row("mem", "rated", scores.map(([name, value]) => el("span", { class: "score-chip" }, `${name.replace(/_/g, " ")} `, el("b", { text: average(value) === "0" || value >= 10 ? average(value) : share(value) }))),
    change.loss && el("p", {}, "The facts were lost: ", el("b", { text: change.loss })),
    change.gold && el("p", {}, "Right answer: ", el("b", {}, text(change.gold))),
    facts.length > 0 && el("details", {}, el("summary", { text: plural(facts.length, "gold fact") }), el("ul", {}, facts.map((fact) => el("li", {}, text(fact))))));
}
