// Figures as inline SVG whose lengths are shares of the width, with their words beside them as text.

const ROLES = ["agent", "memory_write", "memory_read", "embedding", "judge"];
const ROLE_NAMES = {
  agent: "agent", memory_write: "memory, writing", memory_read: "memory, reading",
  embedding: "embedding", judge: "judge",
};

const pct = (value) => `${Math.max(0, Math.min(100, 100 * value)).toFixed(3)}%`;

function strip(label, ...shapes) {
  return svg("svg", { class: "strip", role: "img", "aria-label": label }, shapes);
}

// A score from 0 to 1 with its interval.
function scoreBar(score, label) {
  const { value, low, high } = score;
  return strip(
    `${label}: ${share(value)}, interval ${share(low)} to ${share(high)}`,
    svg("rect", { class: "ground", x: 0, y: "20%", width: "100%", height: "60%", rx: 3 }),
    svg("rect", { class: "score", x: 0, y: "20%", width: pct(value), height: "60%", rx: 3 }),
    svg("line", { class: "whisker", x1: pct(low), x2: pct(high), y1: "50%", y2: "50%" }),
    svg("line", { class: "whisker", x1: pct(low), x2: pct(low), y1: "32%", y2: "68%" }),
    svg("line", { class: "whisker", x1: pct(high), x2: pct(high), y1: "32%", y2: "68%" }),
  );
}

// Parts of a whole, by role; `most` is the whole that fills the width.
function roleBar(parts, most, label) {
  let from = 0;
  const shapes = [svg("rect", { class: "ground", x: 0, y: "20%", width: "100%", height: "60%", rx: 3 })];
  for (const role of ROLES) {
    const value = parts[role] || 0;
    if (!value) continue;
    shapes.push(svg("rect", {
      class: `role-${role}`, x: pct(from / most), y: "20%", width: pct(value / most), height: "60%",
    }, svg("title", { text: `${ROLE_NAMES[role]}: ${count(value)} tokens` })));
    from += value;
  }
  const told = ROLES.filter((role) => parts[role]).map((role) => `${ROLE_NAMES[role]} ${count(parts[role])}`);
  return strip(`${label}: ${told.join(", ") || "no"} tokens`, ...shapes);
}

function legend(roles) {
  return el("ul", { class: "legend" }, roles.map((role) =>
    el("li", {}, el("span", { class: `key role-${role}`, "aria-hidden": true }), ROLE_NAMES[role])));
}

function cellName(cell) {
  const models = new Set(overview.cells.filter((one) => one.run === cell.run).map((one) => one.model)).size > 1;
  const parts = [cell.memory];
  if (models) parts.push(cell.model);
  if (overview.runs.length > 1) parts.push(overview.runs[cell.run]);
  return parts.join(" · ");
}

function figure(title, note, ...content) {
  return el("figure", { class: "card" }, el("figcaption", {}, el("h3", { text: title }), el("p", { text: note })), content);
}

function byEnv() {
  const groups = new Map();
  for (const cell of overview.cells) {
    if (!groups.has(cell.env)) groups.set(cell.env, []);
    groups.get(cell.env).push(cell);
  }
  return groups;
}

function figures() {
  const scores = [], tokens = [];
  const totals = overview.cells.map((cell) => ROLES.reduce((sum, role) => sum + (cell.tokens[role] || 0), 0));
  const most = Math.max(...totals, 1);
  for (const [env, cells] of byEnv()) {
    const head = cells[0].headline.replace(/^(metrics|quality)\./, "");
    scores.push(el("h4", {}, env, " ", el("span", { class: "dim", text: head })));
    tokens.push(el("h4", { text: env }));
    for (const cell of cells) {
      const name = cellName(cell);
      const total = totals[overview.cells.indexOf(cell)];
      scores.push(el("div", { class: "bar" }, el("span", { class: "bar-name", text: name, title: name }),
        cell.score ? scoreBar(cell.score, `${env}, ${name}`) : strip(`${env}, ${name}: no score`),
        el("span", { class: "num", text: cell.score ? share(cell.score.value) : DASH })));
      tokens.push(el("div", { class: "bar" }, el("span", { class: "bar-name", text: name, title: name }),
        roleBar(cell.tokens, most, `${env}, ${name}`), el("span", { class: "num", text: count(total) })));
    }
  }
  const used = ROLES.filter((role) => overview.cells.some((cell) => cell.tokens[role]));
  return el("div", { class: "figures" },
    figure("Score", "What ranks memories in each environment, with its 95% interval.", scores),
    figure("Tokens an episode", "Prompt and completion by role, on average.", legend(used), tokens));
}

// Those that were drawn when the report was written, as pictures: nothing in a picture can run.
function drawings() {
  if (!overview.figures) return overview.figure_note && el("p", { class: "dim more-figures", text: overview.figure_note });
  const place = el("div", { class: "figures drawings" });
  const fill = async () => {
    if (place.childElementCount) return;
    try {
      for (const { title, src } of await load("figures")) {
        if (!src.startsWith("data:image/svg+xml;base64,")) throw new Error("A figure is no picture.");
        place.append(el("figure", { class: "card" }, el("img", { src, alt: title })));
      }
    } catch (error) {
      replace(place, failure(error.message));
    }
  };
  return el("details", { class: "more-figures", on: { toggle: fill } },
    el("summary", { text: `${plural(overview.figures, "more figure")}` }), place,
    overview.figure_note && el("p", { class: "dim", text: overview.figure_note }));
}
