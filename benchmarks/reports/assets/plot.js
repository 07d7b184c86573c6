// Accuracy against cost. The highlighted points are the front that `zoo recommend` gives.
const AXES = {
  published: [["ms", "time per image, ms (V100)"], ["memory_gb", "training memory, GB"], ["millions", "parameters, millions"],
    ["gflops", "GFLOPs, measured here"]],
  measured: [["measured_ms", "time per image, ms"], ["measured_mib", "memory, MiB"], ["gflops", "GFLOPs"],
    ["millions", "parameters, millions"]],
};
const COST_OF_CANDIDATE = { ms: "latency_ms", measured_ms: "latency_ms", measured_mib: "memory_mib" };
const PALETTE = ["--point", "#12a594", "#8e6fd8", "#d6409f", "#8a8f98", "#b8860b"];
// Only what works offline.
const BUTTONS = [["zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "resetScale2d", "toImage"]];
const CONFIG = { responsive: true, displaylogo: false, modeBarButtons: BUTTONS };

function layout(x, y) {
  const [text, line] = [color("--text"), color("--line")];
  const axis = { gridcolor: line, linecolor: line, zeroline: false, tickfont: { size: 12 } };
  return {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: text, family: getComputedStyle(document.body).fontFamily, size: 13 },
    margin: { l: 62, r: 18, t: 36, b: 60 }, hovermode: "closest",
    legend: { orientation: "h", x: 0, y: 1, xanchor: "left", yanchor: "bottom", bgcolor: "rgba(0,0,0,0)" },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: color("--muted"), activecolor: text, orientation: "v" },
    hoverlabel: { bgcolor: color("--raised"), bordercolor: line, font: { color: text } },
    xaxis: { ...axis, title: { text: x, standoff: 10 } }, yaxis: { ...axis, title: { text: y, standoff: 8 } },
  };
}

function accuracyOf(m, metric) {
  const here = m[`measured_${metric}`];
  return byId("numbers").value === "measured" && known(here) ? here : m[metric];
}

function hoverText(m) {
  const parts = [`<b>${m.name}</b>`, m.backbone, m.config, known(m.millions) ? `${m.millions.toFixed(1)} M parameters` : null];
  return parts.filter(known).join("<br>");
}

function points(name, shown, x, metric, marker) {
  return {
    type: "scatter", mode: "markers", name, marker, x: shown.map((m) => m[x]), y: shown.map((m) => accuracyOf(m, metric)),
    text: shown.map(hoverText), customdata: shown.map((m) => m.name),
    hovertemplate: "%{text}<br>%{x:.4g} across, %{y:.1f} up<extra></extra>",
  };
}

// One trace per dataset, or per device for what was measured: their numbers do not compare.
function groups(shown) {
  const key = byId("numbers").value === "measured" ? "measured_on" : "dataset";
  const found = new Map();
  for (const m of shown) found.set(m[key] || "", [...(found.get(m[key] || "") || []), m]);
  return [...found];
}

function frontTrace(shown, x, metric) {
  const visible = new Set(shown.map((m) => m.name));
  const best = frontOf(metric).filter((c) => c.source === byId("numbers").value && visible.has(c.model));
  const placed = best.map((c) => [COST_OF_CANDIDATE[x] ? c[COST_OF_CANDIDATE[x]] : models.get(c.model)[x], c]);
  const found = placed.filter(([cost]) => known(cost)).sort((a, b) => a[0] - b[0]);
  return {
    type: "scatter", name: "Pareto-best (zoo recommend)", x: found.map(([cost]) => cost), y: found.map(([, c]) => c.ap),
    mode: x === "ms" ? "lines+markers" : "markers", line: { color: color("--best"), width: 1, dash: "dot", shape: "hv" },
    marker: { color: color("--best"), size: 11, line: { color: color("--panel"), width: 1.5 } },
    text: found.map(([, c]) => `<b>${c.model}</b><br>${c.reason}`), customdata: found.map(([, c]) => c.model),
    hovertemplate: "%{text}<br>%{x:.4g} across, %{y:.1f} up<extra></extra>",
  };
}

function traces(shown, x, metric) {
  const others = byId("front-only").checked ? [] : groups(shown).map(([name, group], i) => {
    const shade = PALETTE[i % PALETTE.length];
    return points(name, group, x, metric, { color: shade.startsWith("--") ? color(shade) : shade, size: 8, opacity: 0.75 });
  });
  const front = frontTrace(shown, x, metric);
  return front.x.length ? [...others, front] : others;
}

// The plotting library is unpacked, or loaded, when a plot is looked at for the first time.
let library = null;
function loadLibrary() {
  library ??= (async () => {
    const script = element("script");
    if (byId("plotly").dataset.src) {
      script.src = byId("plotly").dataset.src;
      document.head.append(script);
      await new Promise((done, failed) => { script.onload = done; script.onerror = failed; });
    } else {
      script.textContent = await unpacked("plotly");
      document.head.append(script);
    }
  })();
  return library;
}

const waiting = new Map(); // element -> what draws it
const watcher = new IntersectionObserver((entries) => {
  for (const entry of entries.filter((e) => e.isIntersecting)) {
    watcher.unobserve(entry.target);
    loadLibrary().then(() => waiting.get(entry.target)?.());
  }
}, { rootMargin: "100px" });

// Draws when the element is near the window; what is drawn later takes the place of what still waits.
function drawWhenSeen(target, drawing) {
  waiting.set(target, drawing);
  watcher.unobserve(target);
  watcher.observe(target);
}

const COST_NAMES = { ms: "speed", measured_ms: "speed", memory_gb: "training memory", measured_mib: "memory",
  millions: "number of parameters", gflops: "FLOPs" };

// How many models cannot be drawn and why, with axes on which more of them can.
function drawMissing(everything, shown, x, metric) {
  const lacking = everything.filter((m) => !known(m[x])).length;
  const without = everything.length - shown.length - lacking;
  const parts = [[lacking, COST_NAMES[x]], [without, data.metrics[metric]]].filter(([count]) => count);
  const text = parts.map(([count, what], i) => `${i ? count : `${plural(count, "model")} ${count === 1 ? "has" : "have"}`} no ${what}`);
  const drawn = (key) => everything.filter((m) => known(m[key]) && known(accuracyOf(m, metric))).length;
  const better = ["millions", "gflops"].filter((key) => lacking && key !== x && drawn(key) > shown.length &&
    [...byId("x-axis").options].some((option) => option.value === key));
  byId("undrawn").hidden = !text.length;
  byId("undrawn").replaceChildren(`${text.join(" and ")} and ${lacking + without === 1 ? "is" : "are"} not drawn. `, ...better.map((key) => {
    const button = element("button", { type: "button" }, `Draw ${drawn(key)} against ${key === "gflops" ? "FLOPs" : "parameters"}`);
    button.addEventListener("click", () => { byId("x-axis").value = key; draw(); byId("x-axis").focus(); });
    return button;
  }));
}

function drawPlot(everything) {
  const [x, metric] = [byId("x-axis").value, byId("y-axis").value];
  const shown = everything.filter((m) => known(m[x]) && known(accuracyOf(m, metric)));
  const title = AXES[byId("numbers").value].find((axis) => axis[0] === x)[1];
  byId("plot").hidden = !shown.length;
  byId("plot-empty").hidden = Boolean(shown.length);
  byId("plot-empty").textContent = `None of these models has both a ${data.metrics[metric]} and a value for: ${title}.`;
  drawMissing(everything, shown, x, metric);
  if (shown.length) {
    drawWhenSeen(byId("plot"), () => {
      Plotly.react("plot", traces(shown, x, metric), layout(title, data.metrics[metric]), CONFIG);
      if (!byId("plot").dataset.listens) {
        byId("plot").dataset.listens = "yes";
        byId("plot").on("plotly_click", (event) => { location.hash = encodeURIComponent(event.points[0].customdata); });
      }
    });
  }
}
