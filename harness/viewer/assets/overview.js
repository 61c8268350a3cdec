// The first page: what was run, the cells, figures, and the table of all episodes.

const SOLVED = { 1: "solved", 0: "not solved" };

function outcome(success) {
  return missing(success) ? "no score" : SOLVED[success];
}

function verdict(success) {
  const sign = missing(success) ? DASH : success ? "✓" : "✗";
  const kind = missing(success) ? "none" : success ? "yes" : "no";
  return el("span", { class: `verdict ${kind}`, title: outcome(success) }, el("span", { "aria-hidden": true, text: sign }),
    el("span", { class: "unseen", text: outcome(success) }));
}

let shownTable = null; // kept while one looks at an episode: filters, sorting and place stay

function overviewPage() {
  const { runs, planned, scored } = overview;
  const rest = planned - scored;
  const main = el("div", { class: "overview" },
    el("h1", { text: runs.join(" beside ") }),
    el("p", { class: "lead" },
      `${count(scored)} of ${count(planned)} planned episodes scored. `,
      rest > 0 && el("strong", { class: "warn", text: "Unfinished: means are over what is there. " }),
      overview.cells.some((cell) => cell.estimated) && "Some tokens were estimated: their model reports none."),
    shared().length > 0 && el("p", { class: "lead shared" }, shared().map(([name, value]) => el("span", {}, `${name} `, el("b", { text: value })))),
    overview.notes.length > 0 && el("ul", { class: "notes", "aria-label": "Differences" },
      overview.notes.map((note) => el("li", { text: note }))),
    el("section", { "aria-labelledby": "h-cells" }, el("h2", { id: "h-cells", text: "Cells" }), cellTable()),
    el("section", { "aria-labelledby": "h-figures" }, el("h2", { id: "h-figures", text: "Figures" }), figures(), drawings()),
    el("section", { "aria-labelledby": "h-episodes", id: "episodes" }, el("h2", { id: "h-episodes", text: "Episodes" }),
      el("div", { id: "episode-table" }, el("p", { class: "dim", text: "Loading…" }))));
  return main;
}

// What all cells have in common is said once.
function shared() {
  const names = { env: "environment", memory: "memory", model: "model", split: "split" };
  return Object.entries(names).map(([key, name]) => [name, new Set(overview.cells.map((cell) => cell[key]))])
    .filter(([, values]) => values.size === 1).map(([name, values]) => [name, [...values][0]]);
}

function varies(key) {
  return new Set(overview.cells.map((cell) => cell[key])).size > 1;
}

function cellTable() {
  const cells = overview.cells;
  const word = (key, title, width, read) => ({ key, title, width, value: read, text: read,
    choose: () => [...new Set(cells.map((_, i) => read(i)))] });
  const num = (key, title, width, read, show, hint) => ({ key, title, width, hint, num: true,
    value: (i) => read(cells[i]), text: (i) => show(read(cells[i])) });
  const sum = (cell, ...roles) => roles.reduce((total, role) => total + (cell.tokens[role] || 0), 0);
  const columns = [
    overview.runs.length > 1 && word("run", "Run", 120, (i) => overview.runs[cells[i].run]),
    (varies("env") || !varies("memory")) && word("env", "Environment", 120, (i) => cells[i].env),
    varies("memory") && word("memory", "Memory", 140, (i) => cells[i].memory),
    varies("model") && word("model", "Model", 150, (i) => cells[i].model),
    varies("split") && word("split", "Split", 110, (i) => cells[i].split),
    { key: "scored", title: "Scored", width: 90, num: true, value: (i) => cells[i].scored / cells[i].planned,
      text: (i) => `${count(cells[i].scored)}/${count(cells[i].planned)}`,
      node: (i) => el("span", { class: cells[i].scored < cells[i].planned ? "warn" : null,
        text: `${count(cells[i].scored)}/${count(cells[i].planned)}` }) },
    { key: "score", title: "Score [95%]", width: 170, num: true, hint: "What ranks memories in this environment",
      value: (i) => cells[i].score && cells[i].score.value,
      text: (i) => (cells[i].score ? share(cells[i].score.value) : DASH),
      node: (i) => { const s = cells[i].score; return s ? [el("b", { text: share(s.value) }),
        el("span", { class: "dim", text: ` [${share(s.low)}, ${share(s.high)}]` })] : DASH; } },
    num("success", "Success", 85, (c) => c.means.success, share),
    num("progress", "Progress", 90, (c) => c.means.progress, share),
    num("mq", "MQ", 65, (c) => c.means["quality.mq"], share, "Memory quality, by a judge"),
    num("steps", "Steps", 70, (c) => c.means.steps, average),
    num("turns", "Turns", 70, (c) => c.means.turns, average),
    num("agent", "Agent tok.", 100, (c) => sum(c, "agent"), count, "Tokens of the agent, an episode"),
    num("memtok", "Memory tok.", 110, (c) => sum(c, "memory_write", "memory_read"), count, "Tokens of the memory's own model, an episode"),
    num("entries", "Entries", 80, (c) => c.means.memory_entries, average, "Entries at the end of an episode"),
    num("tools", "Tool calls", 95, (c) => Object.values(c.tools).reduce((a, b) => a + b, 0), average),
    num("wall", "Seconds", 85, (c) => c.means.wall_s, average),
  ].filter(Boolean);
  const text = (i) => [overview.runs[cells[i].run], cells[i].env, cells[i].memory, cells[i].model].join(" ").toLowerCase();
  return new Table({ label: "cells", n: cells.length, columns, search: { placeholder: "Filter cells", text },
    open: (i) => showCell(cells[i]) }).node;
}

function showCell(cell) {
  if (!shownTable) return;
  const values = { run: overview.runs[cell.run], env: cell.env, memory: cell.memory, model: cell.model };
  for (const [key, value] of Object.entries(values)) {
    if (shownTable.selects.has(key)) shownTable.choose(key, value);
  }
  document.getElementById("episodes").scrollIntoView({ block: "start" });
  shownTable.scroller.focus({ preventScroll: true });
}

async function fillEpisodes(filters) {
  const table = await episodes();
  shownTable = shownTable || episodeTable(table, filters);
  const place = document.getElementById("episode-table");
  if (!place) return;
  const top = shownTable.scrollTop || 0;
  replace(place, shownTable.node);
  performance.mark("episodes");
  shownTable.scroller.scrollTop = top;
  if (filters) applyFilters(shownTable, filters);
}

function applyFilters(table, filters) {
  for (const [key, value] of filters) if (table.selects.has(key)) table.choose(key, value);
}

function episodeTable(table, filters) {
  const word = (key, title, width, choose, read) => {
    const value = read || ((i) => table.word(key, i));
    return { key, title, width, value, text: value, choose: choose && (() => distinct(table, value)) };
  };
  const num = (key, title, width, show, hint) => ({ key, title, width, hint, num: true,
    value: (i) => table.number(key, i), text: (i) => show(table.number(key, i)) });
  const two = overview.runs.length > 1;
  const many = (key) => table.numbers.get(key).some((value) => value !== table.number(key, 0));
  const columns = [
    { ...word("task", "Task", 230), node: (i) => ends(table.word("task", i), { href: `#/episode/${table.name(i)}` }, "a") },
    { key: "success", title: "Success", width: 85, num: true, value: (i) => table.number("success", i),
      text: (i) => outcome(table.number("success", i)), node: (i) => verdict(table.number("success", i)),
      choose: () => distinct(table, (i) => outcome(table.number("success", i))) },
    two && { key: "other", title: "Other run", width: 105, value: (i) => table.against(i), text: (i) => table.against(i),
      hint: "Solved in this run alone, or in the other alone", choose: () => distinct(table, (i) => table.against(i)),
      node: (i) => (table.counterpart(i) === null ? DASH : el("a", { text: table.against(i), "aria-label": `${table.against(i)}: side by side`,
        href: `#/compare/${table.name(i)}/${table.name(table.counterpart(i))}` })) },
    two && word("run", "Run", 110, true, (i) => table.runName(i)),
    varies("memory") && word("memory", "Memory", 125, true),
    varies("model") && word("model", "Model", 140, true),
    varies("env") && word("env", "Environment", 115, true),
    word("type", "Type", 150, true),
    word("status", "Status", 105, true),
    num("progress", "Progress", 90, share),
    num("steps", "Steps", 70, count),
    num("turns", "Turns", 70, count),
    num("agent_tokens", "Agent tok.", 100, count),
    num("memory_tokens", "Memory tok.", 110, count, "Of the memory's own model"),
    num("entries", "Entries", 80, count, "That the long-term memory held at the end"),
    num("tools", "Tool calls", 95, count),
    num("invalid", "Invalid", 75, count, "Actions that the environment could not carry out"),
    num("mq", "MQ", 65, share, "Memory quality, by a judge"),
    table.words.get("loss").texts.some(Boolean) && word("loss", "Lost", 110, true),
    many("repeat") && num("repeat", "Repeat", 75, count),
    many("order_seed") && num("order_seed", "Order", 75, count),
    overview.cells.some((cell) => cell.lifelong) && num("order", "Place", 70, (value) => count(value + 1), "In its stream"),
    num("wall_s", "Time", 80, seconds),
  ].filter(Boolean);
  let known = [], of = 0; // texts to search, made as they are asked for; anew once there are more
  const text = (i) => {
    if (of !== table.words.size) [known, of] = [[], table.words.size];
    const words = ["task", "type", "id", "reason", "goal", "answer", "env", "memory"];
    known[i] = known[i] || words.map((name) => (table.words.has(name) ? table.word(name, i) : "")).join("\n").toLowerCase();
    return known[i];
  };
  return new Table({
    label: "episodes", n: table.n, columns, query: filters && filters.get("q"), sort: filters && filters.get("sort"),
    search: { placeholder: "Search tasks, goals, answers", text, prepare: () => table.words.has("goal") ? Promise.resolve() : table.texts() },
    open: (i) => { location.hash = `#/episode/${table.name(i)}`; },
    onChange: rememberFilters,
  });
}

function distinct(table, read) {
  const found = new Set();
  for (let i = 0; i < table.n; i++) found.add(read(i));
  return [...found].sort(new Intl.Collator("en", { numeric: true }).compare);
}

// The address tells what is shown, so that it can be handed on.
function rememberFilters() {
  if (!shownTable || !/^(#\/?(\?.*)?)?$/.test(location.hash)) return;
  const told = new URLSearchParams(shownTable.chosen);
  if (shownTable.query) told.set("q", shownTable.query);
  if (shownTable.sortKey) told.set("sort", shownTable.sortKey);
  const hash = `#/${told.size ? `?${told}` : ""}`;
  try {
    history.replaceState(null, "", hash);
  } catch { /* a browser that allows no such thing on disk: the address stays as it was */ }
}
