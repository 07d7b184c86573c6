// The page of one model.
function facts(pairs) {
  const list = element("dl");
  for (const [name, value] of pairs) {
    const items = (Array.isArray(value) ? value : [value]).filter(known);
    if (items.length) list.append(element("dt", {}, name), ...items.map((item) => element("dd", {}, item)));
  }
  list.querySelectorAll("dd + dd").forEach((dd) => { dd.style.gridColumn = "2"; });
  return list;
}

function section(title, ...content) {
  return content.filter(known).length ? element("section", {}, element("h2", {}, title), ...content) : null;
}

function pairs(object) {
  return Object.entries(object || {}).map(([key, value]) => [key.replaceAll("_", " "), String(value)]);
}

function spelled(object) {
  return pairs(object).map(([key, value]) => `${key}: ${value}`);
}

function tile(value, label) {
  return known(value) && value !== "" ? element("div", { class: "tile" }, element("b", {}, value), element("span", {}, label)) : null;
}

function tiles(m) {
  return element("div", { class: "tiles" },
    ...METRICS.map((key) => tile(format(m[key], 1), data.metrics[key])), tile(format(m.fps, 1), `fps on ${m.hardware || "?"}`),
    tile(format(m.millions, 1), "million parameters"), tile(format(m.memory_gb, 1), "GB in training"),
    ...METRICS.map((key) => tile(format(m[`measured_${key}`], 1), `${data.metrics[key]} here`)),
    tile(format(m.measured_fps, 2), "fps here"), tile(format(m.measured_mib, 0), "MiB here"));
}

function comparisonRow(title, published, measured, decimals, note) {
  const difference = known(published) && known(measured) && decimals === 1 ? (measured - published).toFixed(1) : "";
  const cells = [format(published, decimals), format(measured, decimals), difference];
  return element("tr", {}, element("th", { scope: "row" }, title),
    ...cells.map((text) => element("td", { class: "number" }, text)), element("td", { class: "wrap" }, note));
}

function interval(m, key, here) {
  return here && m[`interval_${key}`] ? `95% interval of the measured number: ${m[`interval_${key}`]}` : "";
}

function comparisonRows(m) {
  const seen = new Set();
  const found = Object.entries(m.published || {}).flatMap(([where, values]) => Object.entries(values).map(([key, value]) => {
    const here = seen.has(key) ? null : m[`measured_${key}`]; // measured on the first of the datasets
    seen.add(key);
    return comparisonRow(`${data.metrics[key] || key.replaceAll("_", " ")}, ${where}`, value, here, 1, interval(m, key, here));
  }));
  for (const key of METRICS.filter((k) => !seen.has(k) && known(m[`measured_${k}`]))) {
    found.push(comparisonRow(data.metrics[key], null, m[`measured_${key}`], 1, interval(m, key, true)));
  }
  if (m.fps || m.measured_fps) {
    const weights = m.measured_weights === "random" ? " with random weights" : "";
    const note = [m.fps && `published: ${m.hardware || "unknown hardware"}`, m.measured_fps && `measured: ${m.measured_on}${weights}`];
    found.push(comparisonRow("images per second", m.fps, m.measured_fps, 2, note.filter(known).join("; ")));
  }
  return found;
}

function comparison(m) {
  const found = comparisonRows(m);
  if (!found.length) return null;
  const heads = ["Figure", "published", "measured here", "difference", "Note"];
  const head = element("tr", {}, ...heads.map((t, i) => element("th", { scope: "col", class: i && i < 4 ? "number" : null }, t)));
  return element("div", { class: "scroll fit" }, element("table", {}, element("thead", {}, head), element("tbody", {}, ...found)));
}

function preprocessing(m) {
  const recipe = data.recipes[m.recipe];
  if (!recipe) return null;
  const steps = element("ol", {}, ...recipe.steps.map((step) => element("li", {}, step)));
  return element("div", {}, element("p", { class: "hint" }, `Recipe ${recipe.name}, normalization ${recipe.normalization}.`), steps,
    ...recipe.extras.map((extra) => element("p", {}, extra)));
}

function host(url) {
  try { return new URL(url).host; } catch { return url; }
}

function files(m) {
  if (!(m.urls || []).length && !m.sha256) return null;
  return element("div", {}, element("code", { class: "command" }, `zoo fetch ${m.name}`), facts([
    ["Checkpoint", (m.urls || []).map((url) => link(url, host(url)))],
    ["SHA-256", m.sha256 ? element("code", {}, m.sha256 + (m.sha256.length < 64 ? "… (the prefix is published)" : "")) : null],
    ["MD5", m.md5 ? element("code", {}, m.md5) : null],
    ["Training log", (m.logs || []).map((url) => link(url, host(url)))],
  ]));
}

function drawRecord(record) {
  const failed = record.status !== "ok";
  const title = [record.kind, record.protocol, record.time, record.device].filter(known).join(" \u00b7 ");
  const head = element("summary", { class: failed ? "failed" : null }, failed ? `${title} \u00b7 ${record.status}` : title);
  return element("details", { class: "record", open: failed }, head,
    failed ? element("p", { class: "failed" }, record.reason) : null,
    facts([["Metrics", spelled(record.metrics)], ["Parameters", spelled(record.parameters)],
      ["Weights", record.checkpoint ? element("code", {}, record.checkpoint) : null]]));
}

function gallery(m) {
  if (!m.images.length) return null;
  return element("div", { class: "gallery" }, ...m.images.map((image) => element("figure", {},
    element("img", { src: image.src, alt: `Detections of ${m.name} in ${image.name}`, loading: "lazy" }),
    element("figcaption", {}, image.name))));
}

function curvesOf(m) {
  return m.records.flatMap((record) => record.curves.map((curve) => ({ ...curve, title: `${curve.name}, ${record.kind} of ${record.time}` })));
}

function curveBoxes(m) {
  const found = curvesOf(m);
  if (!found.length) return null;
  return element("div", { class: "columns" }, ...found.map((curve, i) =>
    element("div", {}, element("h3", {}, curve.title), element("div", { class: "curve", id: `curve-${i}` }))));
}

// Plotly needs to know how large a box is, so curves are drawn when the page stands, and when they are looked at.
function drawCurves(m) {
  curvesOf(m).forEach((curve, i) => {
    const line = { type: "scatter", mode: curve.x.length < 40 ? "lines+markers" : "lines", x: curve.x, y: curve.y, name: curve.name,
      line: { color: color("--point"), width: 1.7 }, hovertemplate: `${curve.across} %{x:.4g}: %{y:.5g}<extra></extra>` };
    const shape = { ...layout(curve.across, curve.name), margin: { l: 62, r: 14, t: 14, b: 46 } };
    drawWhenSeen(byId(`curve-${i}`), () => Plotly.newPlot(`curve-${i}`, [line], shape, { ...CONFIG, displayModeBar: false }));
  });
}

function neighbors(m) {
  const list = ordered(chosen());
  const index = list.indexOf(m);
  const near = index < 0 ? [] : [[list[index - 1], "Previous: "], [list[index + 1], "Next: "]];
  return near.filter(([other]) => other).map(([other, word]) => modelLink(other.name, word, ...breakable(other.name)));
}

function chips(m) {
  const names = [m.family, m.dataset, ...m.tasks, ...(m.aliases || []).map((a) => `also ${a}`)].filter(known);
  return element("div", { class: "chips" }, ...[...new Set(names)].map((name) => element("span", { class: "chip" }, name)));
}

function drawModel(m) {
  const title = element("h2", { class: "title", tabindex: "-1" }, ...breakable(m.name));
  const columns = element("div", { class: "columns" },
    section("Network", facts([["Backbone", m.backbone], ["Style", m.style], ["Configuration", m.config],
      ["Reference", m.published_config], ["Parameters", m.params ? m.params.toLocaleString("en") : null]])),
    section("Preprocessing", preprocessing(m)), section("Files", files(m)),
    section("Training", m.training && Object.keys(m.training).length ? facts(pairs(m.training)) : null),
    section("Paper and license", m.paper || m.license ? facts([["Paper", m.paper ? link(m.paper.url, m.paper.title) : null],
      ["License of the weights", m.license]]) : null));
  byId("detail").replaceChildren(...[
    element("nav", { "aria-label": "Models" }, element("a", { href: `#${state()}`, class: "back" }, "All models"), ...neighbors(m),
      m.page ? element("a", { href: m.page }, "Page of its own") : ""),
    title, chips(m), tiles(m),
    (m.notes || []).length ? section("Notes", element("ul", {}, ...m.notes.map((note) => element("li", {}, note)))) : null,
    section("Published and measured", comparison(m)), section("Detections", gallery(m)),
    section("Training curves", curveBoxes(m)), columns,
    section("Records", ...m.records.map(drawRecord)),
  ].filter(known));
  drawCurves(m);
  title.focus({ preventScroll: true });
}
