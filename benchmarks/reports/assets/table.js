// The table of models. Rows are made once; sorting and filtering only put them into another order.
const HERE = METRICS.map((key) => [`measured_${key}`, `${data.metrics[key]} here`, 1]);
// Column: key, title, decimals (numbers only).
const COLUMNS = [
  ["name", "Model"], ...METRICS.map((key) => [key, data.metrics[key], 1]), ["fps", "fps", 1], ["hardware", "fps on"],
  ["family", "Family"], ["backbone", "Backbone"], ["style", "Style"], ["schedule", "Schedule"],
  ["memory_gb", "Training GB", 1], ["millions", "Params M", 1], ["gflops", "GFLOPs here", 1], ...HERE,
  ["measured_fps", "fps here", 2], ["measured_mib", "MiB here", 0], ["measured_on", "here on"],
  ["dataset", "Dataset"], ["config", "Configuration"],
];
const sorting = { key: METRICS[0], falling: true };
const rows = new Map();

function rowOf(m) {
  if (!rows.has(m.name)) {
    rows.set(m.name, element("tr", {}, ...COLUMNS.map(([key, , decimals]) => {
      if (key === "name") return element("th", { scope: "row" }, modelLink(m.name));
      return element("td", { class: decimals !== undefined ? "number" : null }, format(m[key], decimals));
    })));
  }
  return rows.get(m.name);
}

function compare(a, b) {
  const [x, y] = [a[sorting.key], b[sorting.key]];
  if (!known(x) || !known(y)) return known(y) - known(x); // what is not known comes last in either direction
  const order = typeof x === "number" ? x - y : String(x).localeCompare(String(y));
  return sorting.falling ? -order : order;
}

function drawHead() {
  const row = document.querySelector("#table thead tr");
  row.replaceChildren(...COLUMNS.map(([key, title, decimals]) => {
    const direction = key === sorting.key ? (sorting.falling ? "descending" : "ascending") : "none";
    const button = element("button", { type: "button" }, title);
    button.addEventListener("click", () => sortBy(key, decimals !== undefined));
    return element("th", { scope: "col", "aria-sort": direction, class: decimals !== undefined ? "number" : null }, button);
  }));
}

function sortBy(key, falling) {
  sorting.falling = key === sorting.key ? !sorting.falling : falling;
  sorting.key = key;
  drawTable(chosen());
  remember();
  document.querySelectorAll("#table thead button")[COLUMNS.findIndex((c) => c[0] === key)].focus();
}

// Columns in which none of the rows has anything are not shown.
function hideColumns(shown) {
  const empty = COLUMNS.map(([key], i) => (shown.some((m) => known(m[key])) ? null : `#table tr > :nth-child(${i + 1})`));
  byId("hidden-columns").textContent = `${empty.filter(known).join(",") || "#none"} { display: none; }`;
}

function drawTable(shown) {
  drawHead();
  hideColumns(shown);
  document.querySelector("#table tbody").replaceChildren(...ordered(shown).map(rowOf));
  byId("count").textContent = `${shown.length} of ${data.models.length}`;
}

function ordered(shown) {
  return [...shown].sort(compare);
}

// The Pareto-best ones of those that are shown, with the reason for each.
function drawFront(metric, shown) {
  const all = frontOf(metric);
  const visible = new Set(shown.map((m) => m.name));
  const best = all.filter((c) => visible.has(c.model));
  const names = new Set(best.map((c) => c.model));
  for (const [name, row] of rows) row.firstChild.classList.toggle("best", names.has(name));
  byId("front").hidden = !all.length;
  const part = best.length < all.length ? ` of ${all.length}` : "";
  byId("front-count").textContent = `${best.length}${part} in ${data.metrics[metric]}`;
  const titles = ["Model", data.metrics[metric], "ms", "MiB", "Numbers", "Why"];
  const heads = titles.map((t, i) => element("th", { scope: "col", class: [1, 2, 3].includes(i) ? "number" : null }, t));
  document.querySelector("#front-table thead").replaceChildren(element("tr", {}, ...heads));
  document.querySelector("#front-table tbody").replaceChildren(...best.map((c) => element("tr", {},
    element("th", { scope: "row" }, modelLink(c.model)), element("td", { class: "number" }, format(c.ap, 1)),
    element("td", { class: "number" }, format(c.latency_ms, 1)), element("td", { class: "number" }, format(c.memory_mib, 0)),
    element("td", {}, `${c.source}, ${c.hardware}${c.remark ? ` (${c.remark})` : ""}`),
    element("td", { class: "wrap" }, c.reason))));
}
