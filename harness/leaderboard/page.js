"use strict";
// Sorts each group of rows by a column; rows that are set apart stay apart.
document.querySelectorAll("table").forEach((table) => {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") !== "descending";
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const compare = (a, b) => {
      const [x, y] = [a, b].map((row) => row.cells[column]);
      if (head.classList.contains("name")) {
        return (down ? 1 : -1) * x.textContent.localeCompare(y.textContent);
      }
      const [known, other] = [x, y].map((cell) => "key" in cell.dataset);
      if (!known || !other) return other - known;  // what is missing stays last
      return (down ? -1 : 1) * (Number(x.dataset.key) - Number(y.dataset.key));
    };
    for (const body of table.tBodies) {
      const rows = [...body.rows].filter((row) => !row.classList.contains("title"));
      body.append(...rows.sort(compare));
    }
  }));
});
