"use strict";
// Tables that can be sorted, searched and folded. Without JavaScript all rows are visible, in the order of the report.
for (const table of document.querySelectorAll("table[data-search]")) {
  const body = table.tBodies[0];
  const rows = Array.from(body.rows);
  const idle = rows.filter((row) => row.classList.contains("idle"));
  const tools = document.createElement("div");
  const count = document.createElement("span");
  let words = [];
  let showsIdle = idle.length === rows.length;

  const show = () => {
    let shown = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      const found = words.every((word) => text.includes(word));
      row.hidden = !(found && (words.length || showsIdle || !row.classList.contains("idle")));
      shown += row.hidden ? 0 : 1;
    }
    count.textContent = words.length ? table.dataset.found.replace("{shown}", shown).replace("{count}", rows.length) : "";
  };

  if (rows.length > 8) {
    const input = document.createElement("input");
    input.type = "search";
    input.placeholder = table.dataset.search;
    input.setAttribute("aria-label", input.placeholder);
    input.addEventListener("input", () => {
      words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      show();
    });
    tools.append(input);
  }
  if (idle.length && !showsIdle) {
    const label = document.createElement("label");
    const box = document.createElement("input");
    box.type = "checkbox";
    box.addEventListener("change", () => {
      showsIdle = box.checked;
      show();
    });
    label.append(box, table.dataset.unchanged);
    tools.append(label);
  }
  if (tools.childNodes.length) {
    tools.className = "tools";
    count.setAttribute("role", "status");
    tools.append(count);
    table.parentElement.before(tools);
  }
  show();

  for (const [place, head] of Array.from(table.tHead.rows[0].cells).entries()) {
    if (!head.textContent.trim() || rows.length < 2) continue;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const turn = { ascending: "descending", descending: "" }[head.getAttribute("aria-sort")] ?? "ascending";
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      if (turn) head.setAttribute("aria-sort", turn);
      const key = (row) => row.cells[place].dataset.key ?? row.cells[place].textContent.trim();
      const number = (text) => (text === "inf" ? Infinity : text === "-inf" ? -Infinity : Number(text));
      const order = (a, b) => {
        const [x, y] = [key(a), key(b)];
        if (x === "" || y === "") return (x === "") - (y === "");
        const [m, n] = [number(x), number(y)];
        const step = Number.isNaN(m) || Number.isNaN(n) ? x.localeCompare(y, undefined, { numeric: true }) : m < n ? -1 : m > n ? 1 : 0;
        return turn === "ascending" ? step : -step;
      };
      body.append(...(turn ? rows.slice().sort(order) : rows));
    });
  }
}
