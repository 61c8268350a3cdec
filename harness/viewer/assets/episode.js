// One episode: its record, the timeline, the turn, and the panes beside it.

class EpisodeView {
  constructor(table, i, { name = "a", onTurn, small = false } = {}) {
    Object.assign(this, { table, i, name, onTurn, small });
    this.open = new Set(); // texts that are unfolded
    this.onlySent = false;
    this.query = "";
    this.n = 0;
    this.turns = [];
    this.node = el("article", { class: `episode${small ? " small" : ""}`, "aria-label": table.word("task", i) },
      el("p", { class: "dim", text: "Loading…" }));
  }

  async show(n) {
    try {
      this.payload = await turnsOf(this.table, this.i);
    } catch (error) {
      return replace(this.node, this.#header({}), failure(error.message));
    }
    const { payload } = this;
    const head = this.#header(payload.record);
    if (payload.problem) {
      return replace(this.node, head, failure(`The turns of this episode cannot be shown: ${payload.problem}`));
    }
    this.turns = payload.turns;
    if (!this.turns.length) return replace(this.node, head, el("p", { class: "empty", text: "The episode ended before anything happened." }));
    this.replay = new Replay(this.turns, payload.memory);
    this.stage = el("div", { class: "stage" });
    replace(this.node, head, el("div", { class: "workbench" },
      el("div", { class: "side" }, this.#tools(), timeline(this)), this.stage));
    this.go(n, true);
  }

  // Show a turn, from 0; beyond the ends the nearest.
  go(n, quiet) {
    if (!this.turns.length) return;
    this.rows[this.n].setAttribute("aria-selected", "false");
    this.n = Math.max(0, Math.min(this.turns.length - 1, n || 0));
    this.rows[this.n].setAttribute("aria-selected", "true");
    this.list.setAttribute("aria-activedescendant", this.rows[this.n].id);
    keepInView(this.list, this.rows[this.n]);
    this.draw();
    if (!quiet && this.onTurn) this.onTurn(this.n);
  }

  draw() {
    let frame;
    try {
      frame = this.replay.frame(this.n);
    } catch (error) {
      return replace(this.stage, failure(error.message));
    }
    const tops = [...this.stage.querySelectorAll(".pane-body")].map((body) => body.scrollTop);
    replace(this.stage, this.#stepper(), turnCard(frame, this.n, this), el("div", { class: "panes" },
      contextPane(frame, this.n, this), memoryPane(frame, this.payload, this)));
    const [context, memory] = this.stage.querySelectorAll(".pane-body");
    if (tops.length) memory.scrollTop = tops[1];
    // What is new comes last in a context: begin where it does.
    const first = context.querySelector(".fresh, .gone, .after");
    if (first) context.scrollTop = Math.max(0, first.offsetTop - 60);
  }

  // --- search within the episode ---------------------------------------------------------------

  search(query) {
    this.query = query.trim().toLowerCase();
    const words = this.query;
    this.hits = words ? this.turns.map((turn, n) => (textOf(turn).includes(words) ? n : -1)).filter((n) => n >= 0) : [];
    this.rows.forEach((row, n) => row.classList.toggle("hit", this.hits.includes(n)));
    this.found.textContent = words ? plural(this.hits.length, "turn") : "";
    this.draw();
  }

  nextHit(step) {
    if (!this.hits || !this.hits.length) return;
    const after = step > 0 ? this.hits.find((n) => n > this.n) : [...this.hits].reverse().find((n) => n < this.n);
    this.go(after ?? (step > 0 ? this.hits[0] : this.hits[this.hits.length - 1]));
  }

  #tools() {
    this.found = el("span", { class: "dim", role: "status" });
    const input = el("input", { type: "search", class: "episode-search", placeholder: "Search this episode",
      "aria-label": "Search this episode", on: {
        input: () => this.search(input.value),
        keydown: (event) => { if (event.key === "Enter") { event.preventDefault(); this.nextHit(event.shiftKey ? -1 : 1); } },
      } });
    return el("div", { class: "tools", role: "search" }, input, this.found);
  }

  #stepper() {
    const last = this.turns.length - 1;
    const button = (text, name, n, off) => el("button", { type: "button", "aria-label": name, text, disabled: off, on: { click: () => {
      this.go(n);
      const now = this.stage.querySelector(`.stepper button[aria-label="${name}"]`);
      if (now) now.focus({ preventScroll: true });
    } } });
    return el("nav", { class: "stepper", "aria-label": "Turns" },
      button("‹", "Previous turn", this.n - 1, this.n === 0),
      el("span", { text: `Turn ${this.n + 1} of ${last + 1}` }),
      button("›", "Next turn", this.n + 1, this.n === last));
  }

  // --- the record ------------------------------------------------------------------------------

  #header(record) {
    const { table, i } = this, word = (name) => table.word(name, i), number = (name) => table.number(name, i);
    const facts = [
      ["steps", count(number("steps"))], ["turns", count(number("turns"))], ["entries", count(number("entries"))],
      ["tool calls", count(number("tools"))], ["progress", share(number("progress"))], ["MQ", share(number("mq"))],
      ["invalid", count(number("invalid"))], ["time", seconds(number("wall_s"))],
    ].filter(([name, value]) => value !== DASH && !(name === "invalid" && value === "0"));
    const tokens = {};
    for (const [role, usage] of Object.entries(record.tokens || {})) tokens[role] = usage.prompt_tokens + usage.completion_tokens;
    const total = Object.values(tokens).reduce((a, b) => a + b, 0);
    return el("header", { class: "record" },
      el("div", { class: "about" }, el("div", {}, el("h1", {}, verdict(number("success")), " ", word("task")), this.#tags()),
        el("dl", { class: "facts" }, facts.map(([name, value]) => el("div", {}, el("dt", { text: name }), el("dd", { text: value }))))),
      total > 0 && el("div", { class: "tokens" }, roleBar(tokens, total, "Tokens"), el("ul", { class: "legend" }, ROLES.filter((role) => tokens[role]).map((role) =>
        el("li", {}, el("span", { class: `key role-${role}`, "aria-hidden": true }), `${ROLE_NAMES[role]} `, el("b", { text: count(tokens[role]) }))))),
      !this.small && el("div", { class: "rest" }, this.#more(record), this.#beside()));
  }

  #tags() {
    const word = (name) => this.table.word(name, this.i), status = word("status");
    return el("p", { class: "tags" }, overview.runs.length > 1 && tag("quietly", null, this.table.runName(this.i)),
      tag("quietly", null, word("env")), tag("memory", null, word("memory")), tag("quietly", null, word("model")),
      word("type") && tag("quietly", null, word("type")), status !== "completed" && tag("bad", "!", status.replace(/_/g, " ")),
      word("reason") && el("span", { class: "dim", text: oneLine(word("reason"), 300) }));
  }

  #more(record) {
    const rows = [];
    const put = (name, values, show) => { for (const [key, value] of Object.entries(values || {})) rows.push([`${name} ${key}`.replace(/_/g, " "), show(value)]); };
    put("", record.quality, (value) => (missing(value) ? DASH : average(value) === "0" || value >= 10 ? average(value) : share(value)));
    put("", record.metrics, (value) => (missing(value) ? DASH : share(value)));
    put("calls of", record.tool_calls, (by) => Object.entries(by).map(([status, n]) => `${n} ${status.replace(/_/g, " ")}`).join(", "));
    put("skipped", record.memory_faults, count);
    put("", record.labels, String);
    if (record.attempt > 1) rows.push(["tries", count(record.attempt)]);
    if (record.overflow_drops) rows.push(["messages dropped for room", count(record.overflow_drops)]);
    if (record.started_at) rows.push(["started", record.started_at]);
    if (!rows.length) return null;
    return el("details", { class: "more-record" }, el("summary", { text: "Scores, tools and labels" }),
      el("dl", { class: "facts" }, rows.map(([name, value]) => el("div", {}, el("dt", { text: name.trim() }), el("dd", { text: value })))));
  }

  #beside() {
    const { table, i } = this, others = table.same(i);
    if (!others.length) return null;
    const select = el("select", { "aria-label": "Another episode of this task", on: { change: () => {
      if (select.value) location.hash = `#/compare/${table.name(i)}/${select.value}`;
    } } }, el("option", { value: "", text: `Set beside… (${others.length})` }), others.map((k) =>
      el("option", { value: table.name(k), text: `${table.label(k)}: ${outcome(table.number("success", k))}` })));
    return el("p", { class: "beside" }, select);
  }
}

function failure(text) {
  return el("p", { class: "failure", role: "alert", text });
}

function keepInView(list, row) {
  const top = row.offsetTop;
  if (top < list.scrollTop + 8) list.scrollTop = top - 40;
  else if (top + row.offsetHeight > list.scrollTop + list.clientHeight) list.scrollTop = top + row.offsetHeight - list.clientHeight + 40;
}

// All words of a turn, in lower case.
function textOf(turn) {
  const found = [];
  const collect = (value) => {
    if (typeof value === "string") found.push(value);
    else if (value && typeof value === "object") Object.values(value).forEach(collect);
  };
  if (turn.call) collect([turn.call.text, turn.call.tool_calls]);
  for (const change of changesOf(turn)) {
    collect([change.text, change.content, change.contents, change.query, change.action, change.observation, change.problem,
      change.reason && change.type === "forfeit" ? change.reason : null, change.arguments, change.gold]);
  }
  return found.join("\n").toLowerCase();
}
