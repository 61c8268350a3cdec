// What is shown, by the address; and the keys.

const KEYS = [
  ["← → ↑ ↓, k j", "the turn before, and after"], ["Home, End", "the first and the last turn"], ["/", "search"],
  ["n, N", "next and previous turn that was found"], ["[ ]", "the episode before and after, as the table has them"],
  ["Esc", "leave the search; back to the table"], ["?", "these keys"],
];
let current = null; // the view of an episode, or of two

function crumbs(...parts) {
  replace(document.getElementById("crumbs"), parts.flatMap((part) => [el("span", { class: "dim", "aria-hidden": true, text: " / " }), part]));
}

function unknown(what) {
  current = null;
  crumbs(el("span", { text: "not found" }));
  replace(document.getElementById("main"), failure(`${what} `), el("p", {}, el("a", { href: "#/", text: "All episodes" })));
}

async function route() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  const parts = path.split("/").filter(Boolean).map(plainPart);
  const n = parts.indexOf("turn") >= 0 ? Number(parts[parts.indexOf("turn") + 1]) - 1 : 0;
  const turn = Number.isInteger(n) ? n : 0;
  try {
    if (parts[0] === "episode") await showEpisode(parts[1], turn);
    else if (parts[0] === "compare") await showPair(parts[1], parts[2], turn);
    else if (!parts.length) await showOverview(query);
    else unknown(`There is no page ${oneLine(path, 80)}.`);
  } catch (error) {
    const place = document.getElementById("episode-table") || document.getElementById("main");
    replace(place, failure(error.message));
  }
}

function plainPart(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

async function showOverview(query) {
  current = null;
  crumbs();
  document.title = `${overview.runs.join(" and ")} · agemem-eval`;
  replace(document.getElementById("main"), overviewPage());
  // After the first paint, which needs none of it.
  await new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
  await fillEpisodes(query ? new URLSearchParams(query) : null);
  window.scrollTo(0, showOverview.top || 0);
}

async function showEpisode(name, turn) {
  const table = await episodes();
  const i = table.byId.get(name);
  if (i === undefined) return unknown(`There is no episode ${oneLine(name || "", 60)} in this report.`);
  if (current instanceof EpisodeView && current.i === i) return current.go(turn, true);
  leaveOverview();
  const view = new EpisodeView(table, i, { onTurn: (n) => remember(`#/episode/${name}/turn/${n + 1}`) });
  await enter(view, turn, [el("span", { text: oneLine(table.word("task", i), 60) })]);
}

async function showPair(one, other, turn) {
  const table = await episodes();
  const i = table.byId.get(one), k = table.byId.get(other);
  if (i === undefined || k === undefined) return unknown("There is no such pair of episodes in this report.");
  if (current instanceof CompareView && current.views[0].i === i && current.views[1].i === k) return current.go(turn, true);
  leaveOverview();
  const view = new CompareView(table, i, k, (n) => remember(`#/compare/${one}/${other}/turn/${n + 1}`));
  await enter(view, turn, [el("a", { href: `#/episode/${one}`, text: oneLine(table.word("task", i), 60) }), el("span", { text: "side by side" })]);
}

async function enter(view, turn, path) {
  current = view;
  crumbs(...path);
  document.title = `${path[0].textContent} · agemem-eval`;
  replace(document.getElementById("main"), view.node);
  window.scrollTo(0, 0);
  await view.show(turn);
  announce(`${path[0].textContent} shown`);
}

function leaveOverview() {
  if (!document.getElementById("episode-table")) return;
  showOverview.top = window.scrollY;
  if (shownTable) shownTable.scrollTop = shownTable.scroller.scrollTop;
}

function remember(hash) {
  try {
    history.replaceState(null, "", hash);
  } catch {
    location.replace(hash);
  }
}

// --- keys --------------------------------------------------------------------------------------

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  const typing = event.target.closest("input, select, textarea");
  if (event.key === "Escape") return escape(event, typing);
  if (typing) return;
  if (event.key === "/") {
    const input = document.querySelector(current ? ".episode-search" : "#episode-table .table-search");
    if (input) { event.preventDefault(); input.focus(); input.select(); }
  } else if (event.key === "?") {
    document.getElementById("help-button").click();
  } else if (current && current.turns.length) {
    turnKey(event);
  }
}

function turnKey(event) {
  const scrolls = event.target.closest(".pane-body") && /^(Arrow(Up|Down)|Home|End)$/.test(event.key);
  if (scrolls) return; // within a pane they move what it shows
  const moves = { ArrowRight: 1, ArrowDown: 1, j: 1, ArrowLeft: -1, ArrowUp: -1, k: -1 };
  if (event.key in moves) current.go(current.n + moves[event.key]);
  else if (event.key === "Home") current.go(0);
  else if (event.key === "End") current.go(current.turns.length - 1);
  else if (event.key === "n") current.nextHit(1);
  else if (event.key === "N") current.nextHit(-1);
  else if ((event.key === "]" || event.key === "[") && current instanceof EpisodeView) neighbour(event.key === "]" ? 1 : -1);
  else return;
  event.preventDefault();
}

function neighbour(step) {
  const { table, i } = current;
  const order = shownTable ? shownTable.order : [...Array(table.n).keys()];
  const next = order[order.indexOf(i) + step];
  if (next !== undefined) location.hash = `#/episode/${table.name(next)}`;
}

function escape(event, typing) {
  if (!document.getElementById("help").hidden) {
    document.getElementById("help-button").click();
  } else if (typing) {
    if (typing.value && typing.matches("input[type=search]")) {
      typing.value = "";
      typing.dispatchEvent(new Event("input"));
    }
    typing.blur();
  } else if (current) {
    location.hash = "#/";
  } else return;
  event.preventDefault();
}

function toggleHelp() {
  const help = document.getElementById("help"), button = document.getElementById("help-button");
  help.hidden = !help.hidden;
  button.setAttribute("aria-expanded", String(!help.hidden));
  if (!help.hidden) replace(help, el("dl", { class: "keys" }, KEYS.map(([key, text]) => el("div", {}, el("dt", { text: key }), el("dd", { text })))));
}

document.getElementById("help-button").addEventListener("click", toggleHelp);
document.addEventListener("keydown", onKey);
window.addEventListener("hashchange", route);
route();
