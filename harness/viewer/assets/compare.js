// Two episodes of one task side by side; both are at the same turn.

class CompareView {
  constructor(table, i, k, onTurn) {
    this.onTurn = onTurn;
    const both = (n) => { this.go(n, true); onTurn(n); };
    this.views = [i, k].map((one, place) => new EpisodeView(table, one, { name: "ab"[place], small: true, onTurn: both }));
    const differs = table.taskKey(i) !== table.taskKey(k);
    this.node = el("div", { class: "compare" },
      el("h1", { class: "unseen", text: "Two episodes side by side" }),
      differs && el("p", { class: "warn", text: "These episodes are of different tasks." }),
      el("div", { class: "pair" }, this.views.map((view, place) => el("section", { "aria-label": table.label([i, k][place]) },
        el("p", { class: "which" }, el("b", { text: table.label([i, k][place]) }), " ",
          el("a", { href: `#/episode/${table.name([i, k][place])}`, text: "alone" })), view.node))));
  }

  get n() {
    return Math.max(...this.views.map((view) => view.n));
  }

  async show(n) {
    await Promise.all(this.views.map((view) => view.show(n)));
  }

  go(n, quiet) {
    for (const view of this.views) view.go(n, true);
    if (!quiet) this.onTurn(this.n);
  }

  get turns() {
    return this.views.reduce((one, other) => (one.turns.length >= other.turns.length ? one : other)).turns;
  }

  nextHit(step) {
    this.views[0].nextHit(step);
  }
}
