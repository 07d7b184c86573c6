"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const best = new Set(data.front.map((c) => c.model));
const state = { sort: "box_ap", falling: true };

// Column: key, title, decimals (numbers only).
const COLUMNS = [
  ["name", "Model"], ["family", "Family"], ["backbone", "Backbone"], ["schedule", "Schedule"],
  ["box_ap", "Box AP", 1], ["mask_ap", "Mask AP", 1], ["pq", "PQ", 1], ["fps", "fps", 1], ["hardware", "on"],
  ["memory_gb", "Training GB", 1], ["measured_box_ap", "Box AP here", 1], ["measured_fps", "fps here", 2],
  ["measured_memory_mib", "MiB here", 0], ["dataset", "Data set"],
];
const AXES = [
  ["ms", "published ms per picture (V100)"], ["memory_gb", "published training memory, GB"],
  ["measured_ms", "measured ms per picture"], ["measured_memory_mib", "measured memory, MiB"],
  ["parameters", "parameters"], ["flops", "operations"],
];
const LABELS = { box_ap: "box AP", mask_ap: "mask AP", pq: "PQ", measured_box_ap: "box AP measured here" };

for (const m of data.models) {
  m.ms = m.fps && (m.hardware || "").includes("V100") ? 1000 / m.fps : null;
  m.measured_ms = m.measured_fps ? 1000 / m.measured_fps : null;
  m.text = [m.name, m.family, m.backbone, ...(m.aliases || []), ...(m.notes || [])].join(" ").toLowerCase();
}

function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

function format(value, decimals) {
  if (value === null || value === undefined) return "";
  return typeof value === "number" && decimals !== undefined ? value.toFixed(decimals) : String(value);
}

function options(select, values, title) {
  select.append(element("option", { value: "" }, title));
  for (const value of [...new Set(values)].filter(Boolean).sort()) {
    select.append(element("option", { value }, value));
  }
}

function chosen() {
  const words = byId("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const [family, task, dataset] = ["family", "task", "dataset"].map((id) => byId(id).value);
  return data.models.filter((m) =>
    words.every((word) => m.text.includes(word)) && (!family || m.family === family) &&
    (!task || m.tasks.includes(task)) && (!dataset || m.dataset === dataset) &&
    (!byId("measured-only").checked || m.records.length > 0));
}

function compare(a, b) {
  const [x, y] = [a[state.sort], b[state.sort]];
  const [noX, noY] = [x, y].map((v) => v === null || v === undefined || v === "");
  if (noX || noY) return noX - noY; // what is not known comes last in either direction
  const order = typeof x === "number" ? x - y : String(x).localeCompare(String(y));
  return state.falling ? -order : order;
}

function drawHead() {
  const row = document.querySelector("#table thead tr");
  row.replaceChildren(...COLUMNS.map(([key, title, decimals]) => {
    const direction = key === state.sort ? (state.falling ? "descending" : "ascending") : "none";
    const button = element("button", { type: "button" }, title);
    button.addEventListener("click", () => {
      state.falling = key === state.sort ? !state.falling : decimals !== undefined;
      state.sort = key;
      draw();
      document.querySelectorAll("#table thead button")[COLUMNS.findIndex((c) => c[0] === key)].focus();
    });
    const numeric = decimals !== undefined ? "number" : null;
    return element("th", { scope: "col", "aria-sort": direction, class: numeric }, button);
  }));
}

function drawRows(models) {
  const rows = models.map((m) => element("tr", {}, ...COLUMNS.map(([key, , decimals]) => {
    const text = format(m[key], decimals);
    if (key === "name") return element("td", {}, element("a", { href: "#" + encodeURIComponent(m.name) }, text));
    return element("td", { class: decimals !== undefined ? "number" : null }, text);
  })));
  document.querySelector("#table tbody").replaceChildren(...rows);
  byId("count").textContent = `${models.length} of ${data.models.length}`;
}

function colours() {
  const style = getComputedStyle(document.documentElement);
  return (name) => style.getPropertyValue(name).trim();
}

function layout(x, y) {
  const colour = colours();
  const axis = { gridcolor: colour("--line"), zeroline: false };
  return {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: colour("--text") },
    margin: { l: 60, r: 20, t: 20, b: 65 }, modebar: { bgcolor: "rgba(0,0,0,0)" }, hovermode: "closest", showlegend: false,
    xaxis: { ...axis, title: { text: x } }, yaxis: { ...axis, title: { text: y } },
  };
}

function drawPlot(models) {
  const [x, y] = [byId("x-axis").value, byId("y-axis").value];
  const points = models.filter((m) => m[x] && m[y] && (!byId("front-only").checked || best.has(m.name)));
  const trace = {
    type: "scatter", mode: "markers", x: points.map((m) => m[x]), y: points.map((m) => m[y]),
    text: points.map((m) => m.name), customdata: points.map((m) => m.name),
    hovertemplate: "%{text}<br>%{x:.4g}, %{y:.1f}<extra></extra>",
    marker: {
      size: points.map((m) => (best.has(m.name) ? 11 : 7)), opacity: 0.8,
      color: points.map((m) => (best.has(m.name) ? "#e67e22" : "#2980b9")),
    },
  };
  const title = AXES.find((axis) => axis[0] === x)[1];
  Plotly.react("plot", [trace], layout(title, LABELS[y]), { responsive: true, displaylogo: false });
}

function draw() {
  const models = chosen();
  drawHead();
  drawRows([...models].sort(compare));
  drawPlot(models);
}

function link(url, text) {
  return element("a", { href: url, rel: "noopener noreferrer" }, text || url);
}

function facts(pairs) {
  const list = element("dl");
  for (const [name, value] of pairs) {
    if (value === null || value === undefined || value === "" || (Array.isArray(value) && !value.length)) continue;
    const parts = Array.isArray(value) ? value.flatMap((v, i) => (i ? [element("br"), v] : [v])) : [value];
    list.append(element("dt", {}, name), element("dd", {}, ...parts));
  }
  return list;
}

function words(object) {
  return Object.entries(object || {}).map(([k, v]) => `${k}: ${typeof v === "object" ? JSON.stringify(v) : v}`);
}

function drawRecord(record) {
  const failed = record.status !== "ok";
  const title = `${record.kind} ${record.protocol || ""} ${record.time}`;
  const parts = [element("h3", { class: failed ? "failed" : null }, title)];
  if (failed) parts.push(element("p", { class: "failed" }, `${record.status}: ${record.reason}`));
  parts.push(facts([["Device", record.device], ["Parameters", words(record.parameters)],
    ["Metrics", words(record.metrics)]]));
  return parts;
}

function drawCurves(m, box) {
  for (const record of m.records) {
    for (const [name, values] of Object.entries(record.curves)) {
      const node = element("div", { class: "curve" });
      box.append(element("h3", {}, `${name}, ${record.time}`), node);
      Plotly.newPlot(node, [{ type: "scatter", mode: "lines", y: values }], layout("measurement", name),
        { responsive: true, displaylogo: false });
    }
  }
}

function drawDetail(m) {
  const box = byId("detail");
  const back = element("a", { href: "#" }, "All models");
  const title = element("h2", { tabindex: "-1" }, m.name);
  box.replaceChildren(back, title, facts([
    ["Also called", (m.aliases || []).join(", ")], ["Family", m.family], ["Tasks", (m.tasks || []).join(", ")],
    ["Backbone", m.backbone], ["Published metrics", words(m.all_metrics)],
    ["Published speed", m.fps ? `${m.fps} fps on ${m.hardware || "unknown hardware"}` : null],
    ["Training", words(m.training)], ["Normalization", m.normalization], ["Preprocessing", m.preprocessing],
    ["Checkpoint", (m.urls || []).map((u) => link(u))], ["SHA-256 (prefix as published)", m.sha256],
    ["Training log", (m.logs || []).map((u) => link(u))],
    ["Paper", m.paper ? link(m.paper.url, m.paper.title) : null], ["Licence of the weights", m.license],
    ["Notes", m.notes],
  ]));
  if (m.pictures.length) box.append(element("h2", {}, "Detections"));
  m.pictures.forEach((src, i) => box.append(element("img", { src, alt: `Detections of ${m.name}, picture ${i + 1}` })));
  if (m.records.length) box.append(element("h2", {}, "Measured"), ...m.records.flatMap(drawRecord));
  drawCurves(m, box);
  title.focus();
}

function route() {
  const name = decodeURIComponent(location.hash.slice(1));
  const m = data.models.find((model) => model.name === name);
  byId("overview").hidden = Boolean(m);
  byId("detail").hidden = !m;
  if (m) drawDetail(m);
  else draw();
  window.scrollTo(0, 0);
}

function start() {
  const measured = data.models.filter((m) => m.records.length).length;
  byId("summary").textContent = `${data.models.length} models, ${measured} of them measured here. ` +
    "Numbers without \u201chere\u201d are as published. Orange points are Pareto-best in box AP and speed.";
  options(byId("family"), data.models.map((m) => m.family), "all");
  options(byId("task"), data.models.flatMap((m) => m.tasks), "all");
  options(byId("dataset"), data.models.map((m) => m.dataset), "all");
  if (data.models.some((m) => m.dataset === "coco_2017")) byId("dataset").value = "coco_2017";
  for (const [key, title] of AXES) byId("x-axis").append(element("option", { value: key }, title));
  for (const [key, title] of Object.entries(LABELS)) byId("y-axis").append(element("option", { value: key }, title));
  for (const id of ["search", "family", "task", "dataset", "measured-only", "x-axis", "y-axis", "front-only"]) {
    byId(id).addEventListener("input", draw);
  }
  draw(); // Plotly knows the element from here on
  byId("plot").on("plotly_click", (event) => { location.hash = encodeURIComponent(event.points[0].customdata); });
  if (location.hash) route();
  addEventListener("hashchange", route);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", route);
}

start();
