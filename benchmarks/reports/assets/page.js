// What the parts of the page share: the data, the filters' answer, and making elements.
const byId = (id) => document.getElementById(id);

// The text of a script element that holds gzip in base64, a tenth of the size.
async function unpacked(id) {
  const bytes = Uint8Array.from(atob(byId(id).textContent), (sign) => sign.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
}

const data = JSON.parse(await unpacked("data"));
const known = (value) => value !== null && value !== undefined && value !== "";
const models = new Map(data.models.map((m) => [m.name, m]));
const METRICS = Object.keys(data.metrics);

for (const m of data.models) {
  m.ms = m.fps && (m.hardware || "").includes("V100") ? 1000 / m.fps : null;
  m.measured_ms ??= m.measured_fps ? 1000 / m.measured_fps : null;
  m.millions = m.params ? m.params / 1e6 : null;
  m.gflops = m.flops ? m.flops / 1e9 : null;
  m.text = [m.name, m.family, m.backbone, m.config, ...(m.aliases || []), ...(m.notes || [])].join(" ").toLowerCase();
}

function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.filter(known));
  return node;
}

function format(value, decimals) {
  if (!known(value)) return "";
  return typeof value === "number" && decimals !== undefined ? value.toFixed(decimals) : String(value);
}

// A long name breaks after its underscores, not in the middle of a word.
function breakable(name) {
  return name.split(/(?<=[_/])/).flatMap((part, i) => (i ? [element("wbr"), part] : [part]));
}

function modelLink(name, ...children) {
  return element("a", { href: "#" + encodeURIComponent(name) }, ...(children.length ? children : breakable(name)));
}

function link(url, text) {
  return element("a", { href: url, rel: "noopener noreferrer" }, text || url);
}

function fill(select, values, title) {
  const options = values.map(([value, text]) => element("option", { value }, text));
  select.replaceChildren(...(title ? [element("option", { value: "" }, title), ...options] : options));
}

// The models that meet the filters.
function chosen() {
  const words = byId("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const [family, task, dataset] = ["family", "task", "dataset"].map((id) => byId(id).value);
  return data.models.filter((m) =>
    words.every((word) => m.text.includes(word)) && (!family || m.family === family) &&
    (!task || m.tasks.includes(task)) && (!dataset || m.dataset === dataset) &&
    (!byId("measured-only").checked || m.records.length > 0));
}

// What `zoo recommend` gives for the dataset that is chosen and a metric.
function frontOf(metric) {
  const found = data.fronts.find((f) => f.dataset === byId("dataset").value && f.metric === metric);
  return found ? found.models : [];
}

// A small word with a number: "1 model", "2 models".
function plural(count, word) {
  return `${count} ${word}${count === 1 ? "" : "s"}`;
}

// A color of the style sheet as it is in the current theme.
function color(name) {
  const probe = element("span", { style: `color: var(${name})` });
  document.body.append(probe);
  const value = getComputedStyle(probe).color;
  probe.remove();
  return value;
}
