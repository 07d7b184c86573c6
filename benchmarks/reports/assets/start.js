// Puts the parts together: filters, themes, keys and addresses.
const THEMES = ["auto", "light", "dark"];
let opened = null; // the model whose page was shown last

function draw() {
  const shown = chosen();
  drawTable(shown);
  drawFront(byId("y-axis").value, shown);
  drawPlot(shown);
  remember();
}

// The address of the overview has what was changed: filters, axes and the order, such as #search=yolox&sort=-fps.
const FIELDS = { search: "search", family: "family", task: "task", dataset: "dataset", numbers: "numbers", x: "x-axis", y: "y-axis" };
const CHECKS = { measured: "measured-only", best: "front-only" };
let usual = new Map(); // the fields as they are at first

function fields() {
  const values = Object.entries(FIELDS).map(([key, id]) => [key, byId(id).value]);
  const checks = Object.entries(CHECKS).map(([key, id]) => [key, byId(id).checked ? "yes" : ""]);
  return [...values, ...checks, ["sort", (sorting.falling ? "-" : "") + sorting.key]];
}

function state() {
  return new URLSearchParams(fields().filter(([key, value]) => value !== usual.get(key))).toString();
}

function remember() {
  if (!byId("overview").hidden) history.replaceState(null, "", `#${state()}`);
}

function restore(text) {
  const given = new Map([...usual, ...new URLSearchParams(text)]);
  const choose = (key) => { if ([...byId(FIELDS[key]).options].some((o) => o.value === given.get(key))) byId(FIELDS[key]).value = given.get(key); };
  byId("search").value = given.get("search");
  for (const [key, id] of Object.entries(CHECKS)) byId(id).checked = given.get(key) === "yes";
  for (const key of ["family", "task", "dataset", "numbers"]) choose(key);
  offerAxes();
  offerMetrics();
  for (const key of ["x", "y"]) choose(key);
  const [, falling, key] = given.get("sort").match(/^(-?)(.*)$/);
  if (COLUMNS.some((column) => column[0] === key)) Object.assign(sorting, { key, falling: Boolean(falling) });
}

// The model that an address names; none for the overview and for an address that does not decode.
function addressed(text) {
  try { return models.get(decodeURIComponent(text)); } catch { return undefined; }
}

function route() {
  const text = location.hash.slice(1);
  const m = addressed(text);
  if (!m && (text.includes("=") || !opened)) restore(text.includes("=") ? text : "");
  byId("overview").hidden = Boolean(m);
  byId("detail").hidden = !m;
  document.title = m ? `${m.name} - The detection zoo` : "The detection zoo";
  if (m) {
    drawModel(m);
    window.scrollTo(0, 0);
  } else {
    byId("detail").replaceChildren();
    draw();
    const row = opened && rows.get(opened.name);
    if (row && row.isConnected) row.querySelector("a").focus();
  }
  opened = m || opened;
}

function showTheme(theme) {
  if (theme === "auto") document.documentElement.removeAttribute("data-theme");
  else document.documentElement.dataset.theme = theme;
  byId("theme").textContent = `Theme: ${theme}`;
}

function nextTheme() {
  const now = document.documentElement.dataset.theme || "auto";
  showTheme(THEMES[(THEMES.indexOf(now) + 1) % THEMES.length]);
  route();
}

function pressed(event) {
  const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName);
  if (event.key === "Escape" && !byId("detail").hidden) location.hash = state();
  if (event.key === "/" && !typing && byId("detail").hidden) {
    byId("search").focus();
    event.preventDefault();
  }
}

// Axes that no model has a value for are not offered.
function offerAxes() {
  const kind = byId("numbers").value;
  fill(byId("x-axis"), AXES[kind].filter(([key]) => data.models.some((m) => known(m[key]))));
}

// The metric on the vertical axis follows the task and the dataset that are chosen.
function offerMetrics() {
  const shown = chosen();
  const usable = METRICS.filter((key) => shown.some((m) => known(accuracyOf(m, key))));
  const task = data.fronts.find((f) => f.task === byId("task").value && f.dataset === byId("dataset").value);
  const before = byId("y-axis").value;
  fill(byId("y-axis"), (usable.length ? usable : METRICS).map((key) => [key, data.metrics[key]]));
  const wanted = task && usable.includes(task.metric) ? task.metric : usable.includes(before) ? before : usable[0];
  if (wanted) byId("y-axis").value = wanted;
}

function sortedNames(values) {
  return [...new Set(values)].filter(known).sort().map((value) => [value, value]);
}

function offerFilters() {
  fill(byId("family"), sortedNames(data.models.map((m) => m.family)), "all");
  fill(byId("task"), sortedNames(data.models.flatMap((m) => m.tasks)), "all");
  fill(byId("dataset"), sortedNames(data.models.map((m) => m.dataset)), "all");
  const measured = data.models.some((m) => known(m.measured_ms));
  fill(byId("numbers"), [["published", "as published"], ...(measured ? [["measured", "measured here"]] : [])]);
  byId("numbers-label").hidden = !measured;
  byId("measured-label").hidden = !data.models.some((m) => m.records.length);
}

function choose() {
  if (data.models.some((m) => m.dataset === "coco_2017")) byId("dataset").value = "coco_2017";
}

function describe() {
  const measured = data.models.filter((m) => m.records.length).length;
  const families = new Set(data.models.map((m) => m.family).filter(known)).size;
  byId("summary").textContent = `${data.models.length} models of ${families} families, ` +
    (measured ? `${measured} of them measured here.` : "as they were published; none was measured here yet.");
}

function listen() {
  const filtered = () => { offerMetrics(); draw(); };
  byId("search").addEventListener("input", filtered);
  for (const id of ["family", "dataset", "task", "measured-only"]) byId(id).addEventListener("change", filtered);
  for (const id of ["x-axis", "y-axis", "front-only"]) byId(id).addEventListener("change", draw);
  byId("numbers").addEventListener("change", () => { offerAxes(); filtered(); });
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  byId("filters").addEventListener("reset", () => setTimeout(() => { restore(""); draw(); }));
  byId("theme").addEventListener("click", nextTheme);
  addEventListener("keydown", pressed);
  addEventListener("hashchange", route);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", route);
}

function start() {
  offerFilters();
  choose();
  describe();
  showTheme("auto");
  offerAxes();
  offerMetrics();
  usual = new Map(fields());
  listen();
  route();
}

start();
