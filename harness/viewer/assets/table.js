// A table that sorts, filters, and draws only the rows in sight, so that 10,000 cost as much as 30.

const ROW = 34; // pixels; the style sheet says the same
const AROUND = 10; // rows drawn beyond what is in sight

// Columns: { key, title, num, value(i), text(i), node(i), choose, width, hint }.
class Table {
  constructor({ label, n, columns, open, sort, search, query, onChange }) {
    Object.assign(this, { label, n, columns, open, search, onChange });
    this.sortKey = sort || null;
    this.chosen = new Map(); // of columns that one chooses from
    this.query = (query || "").toLowerCase();
    this.order = [];
    this.at = 0; // the row that has the focus
    this.body = el("tbody", {});
    this.counter = el("span", { class: "dim counter", role: "status" });
    this.head = el("tr", {}, columns.map((column) => this.#header(column)));
    this.scroller = el("div", { class: "scroller", tabindex: 0, role: "region", "aria-label": label, on: {
      scroll: () => this.#draw(), keydown: (event) => this.#key(event),
    } }, el("table", { "aria-label": label, "aria-rowcount": n + 1 },
      el("colgroup", {}, columns.map((c) => el("col", { width: c.width }))),
      el("thead", {}, this.head), this.body));
    this.scroller.style.setProperty("--table-width", `${columns.reduce((sum, c) => sum + c.width, 0)}px`);
    this.node = el("div", { class: "table" }, this.#filters(), this.scroller);
    this.update();
    if (this.query && this.search.prepare) this.search.prepare().then(() => this.update());
    if (window.ResizeObserver) new ResizeObserver(() => this.#draw()).observe(this.scroller);
  }

  #header(column) {
    return el("th", { scope: "col", class: column.num ? "num" : null, title: column.hint || null },
      el("button", { type: "button", text: column.title, on: { click: () => this.sortBy(column.key) } }));
  }

  #filters() {
    const input = el("input", { type: "search", value: this.query, placeholder: this.search.placeholder,
      "aria-label": `Filter ${this.label}`, class: "table-search", on: {
        focus: () => this.search.prepare && this.search.prepare().then(() => this.query && this.update()),
        input: () => { this.query = input.value.trim().toLowerCase(); this.#changed(); },
      } });
    this.selects = new Map();
    const selects = this.columns.filter((column) => column.choose).map((column) => {
      const values = column.choose();
      if (values.length < 2) return null;
      const select = el("select", { "aria-label": column.title, on: { change: () => {
        this.choose(column.key, select.value);
      } } }, el("option", { value: "", text: `${column.title}: all` }),
      values.map((value) => el("option", { value, text: value || DASH })));
      this.selects.set(column.key, select);
      return select;
    });
    return el("div", { class: "filters", role: "search" }, input, selects, this.counter);
  }

  // Show only rows with this text in a column; "" shows all.
  choose(key, value) {
    const select = this.selects.get(key);
    if (select) select.value = value;
    if (value) this.chosen.set(key, value);
    else this.chosen.delete(key);
    this.#changed();
  }

  sortBy(key) {
    const column = this.columns.find((one) => one.key === key);
    const [first, second] = column.num ? [`-${key}`, key] : [key, `-${key}`];
    this.sortKey = this.sortKey === first ? second : first;
    this.#changed();
  }

  #changed() {
    this.update();
    this.scroller.scrollTop = 0;
    this.#draw();
    if (this.onChange) this.onChange();
  }

  update() {
    const tests = [];
    for (const [key, value] of this.chosen) {
      const column = this.columns.find((one) => one.key === key);
      if (column) tests.push((i) => column.text(i) === value);
    }
    if (this.query) {
      const words = this.query.split(/\s+/);
      tests.push((i) => {
        const text = this.search.text(i);
        return words.every((word) => text.includes(word));
      });
    }
    this.order = [];
    for (let i = 0; i < this.n; i++) if (tests.every((test) => test(i))) this.order.push(i);
    this.#sort();
    this.at = 0;
    const all = this.order.length === this.n;
    this.counter.textContent = all ? count(this.n) : `${count(this.order.length)} of ${count(this.n)}`;
    this.#draw();
  }

  #sort() {
    const key = (this.sortKey || "").replace(/^-/, ""), down = (this.sortKey || "")[0] === "-";
    this.columns.forEach((column, place) => {
      const way = column.key === key ? (down ? "descending" : "ascending") : null;
      if (way) this.head.children[place].setAttribute("aria-sort", way);
      else this.head.children[place].removeAttribute("aria-sort");
    });
    const column = this.columns.find((one) => one.key === key);
    if (!column) return;
    const values = this.order.map((i) => [column.value(i), i]);
    const collator = new Intl.Collator("en", { numeric: true });
    const compare = column.num ? (a, b) => a - b : collator.compare;
    values.sort(([a, i], [b, k]) => {
      if (missing(a) || missing(b)) return (missing(a) - missing(b)) || i - k; // what is missing, last
      return (down ? compare(b, a) : compare(a, b)) || i - k;
    });
    this.order = values.map(([, i]) => i);
  }

  #draw() {
    const height = this.scroller.clientHeight || 600, n = this.order.length;
    const first = Math.max(0, Math.floor(this.scroller.scrollTop / ROW) - AROUND);
    const last = Math.min(n, first + Math.ceil(height / ROW) + 2 * AROUND);
    const space = (rows) => el("tr", { class: "space", "aria-hidden": true }, (() => {
      const cell = el("td", { colspan: this.columns.length });
      cell.style.height = `${rows * ROW}px`;
      return cell;
    })());
    const rows = [];
    if (first > 0) rows.push(space(first));
    for (let k = first; k < last; k++) rows.push(this.#row(k));
    if (last < n) rows.push(space(n - last));
    if (!n) rows.push(el("tr", {}, el("td", { colspan: this.columns.length, class: "empty", text: "Nothing fits the filter." })));
    replace(this.body, rows);
  }

  #row(k) {
    const i = this.order[k];
    return el("tr", { "aria-rowindex": k + 2, class: k === this.at ? "at" : null, on: { click: (event) => {
      if (!event.target.closest("a")) this.open(i);
    } } }, this.columns.map((column) => {
      const text = column.text(i);
      return el("td", { class: column.num ? "num" : null, title: column.num ? null : text },
        column.node ? column.node(i) : text);
    }));
  }

  #key(event) {
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: 15, PageUp: -15, j: 1, k: -1 };
    if (event.target !== this.scroller || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Enter" && this.order.length) {
      this.open(this.order[this.at]);
    } else if (event.key in steps) {
      this.at = Math.max(0, Math.min(this.order.length - 1, this.at + steps[event.key]));
      const top = this.at * ROW, view = this.scroller.clientHeight - 2 * ROW;
      if (top < this.scroller.scrollTop) this.scroller.scrollTop = top;
      if (top > this.scroller.scrollTop + view) this.scroller.scrollTop = top - view;
      this.#draw();
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }
}
