// -- the chart ---------------------------------------------------------------------------------

const axes = Object.keys(content.axes);
const state = {
  metric: content.metrics[0],
  method: content.methods[0],
  x: axes[0] || "",
  y: axes[1] || "",
};
let places = []; // places of the chart that can be chosen: [{told, rows}], row by row
let columnsOfChart = 1, at = 0;

function statistics(rows) {
  let n = 0, sum = 0, squares = 0, least = Infinity, most = -Infinity, failed = 0;
  for (const row of rows) {
    if (value("status", row) === "failed") failed += 1;
    const v = value(state.metric, row);
    if (typeof v !== "number") continue;
    n += 1; sum += v; squares += v * v;
    least = Math.min(least, v); most = Math.max(most, v);
  }
  const mean = n ? sum / n : null;
  const spread = n > 1 ? Math.sqrt(Math.max(0, squares / n - mean * mean) * n / (n - 1)) : 0;
  return { n, mean, least, most, failed, half: n > 1 ? 1.96 * spread / Math.sqrt(n) : 0 };
}

// group the rows by some columns in one pass
function grouped(keys) {
  const groups = new Map();
  for (let row = 0; row < nCells; row += 1) {
    const key = JSON.stringify(keys.map((name) => value(name, row)));
    if (!groups.has(key)) groups.set(key, []);
    groups.get(key).push(row);
  }
  return (...values) => groups.get(JSON.stringify(values)) || [];
}

// names are text, also where Plotly would take < for markup
function plain(text) {
  return String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}

// the parts of a sentence below each other, for Plotly
function lined(text) {
  return text.split("; ").map(plain).join("<br>");
}

function colours() {
  const style = getComputedStyle(document.documentElement);
  return Object.fromEntries(["ground", "ink", "line", "ours", "focus"].map(
    (name) => [name, style.getPropertyValue(`--${name}`).trim()]));
}

const PEERS = ["#3a6ea5", "#b5651d", "#8f63ad", "#c2403d", "#808890", "#6b8e23"];

function layout(extra) {
  const c = colours();
  const axis = { gridcolor: c.line, zerolinecolor: c.line, linecolor: c.line, automargin: true };
  return {
    paper_bgcolor: c.ground, plot_bgcolor: c.ground, font: { color: c.ink },
    margin: { t: 30, r: 20, b: 50, l: 60 }, height: 420, ...extra,
    xaxis: { ...axis, ...extra.xaxis }, yaxis: { ...axis, ...extra.yaxis },
  };
}

function draw() {
  const chart = state.y ? heatMap() : state.x ? lines() : bars();
  Plotly.react("chart", chart.traces, layout(chart.layout), {
    responsive: true, displaylogo: false,
  });
  at = Math.min(at, Math.max(0, places.length - 1));
}

function heatMap() {
  const find = grouped(["label", state.x, state.y]);
  const xs = content.axes[state.x], ys = content.axes[state.y];
  places = [];
  const z = [], hover = [];
  for (const y of ys) {
    const means = [], texts = [];
    for (const x of xs) {
      const rows = find(state.method, key(state.x, x), key(state.y, y));
      const s = statistics(rows);
      const where = `${state.x} = ${told(x)}, ${state.y} = ${told(y)}`;
      places.push({ rows, told: sentence(`${state.method}, ${where}`, s) });
      means.push(s.mean);
      texts.push(lined(sentence(where, s)));
    }
    z.push(means); hover.push(texts);
  }
  columnsOfChart = xs.length;
  const known = z.flat().filter((v) => v !== null);
  const shares = known.every((v) => v >= 0 && v <= 1);
  return {
    traces: [{
      type: "heatmap", x: xs.map((x) => plain(told(x))), y: ys.map((y) => plain(told(y))), z,
      text: hover, hoverinfo: "text",
      colorscale: "Viridis", zmin: shares ? 0 : undefined, zmax: shares ? 1 : undefined,
      xgap: 1, ygap: 1, colorbar: { title: { text: plain(state.metric) } },
    }],
    layout: {
      xaxis: { type: "category", title: { text: plain(state.x) } },
      yaxis: { type: "category", title: { text: plain(state.y) } },
      title: { text: plain(state.method) },
    },
  };
}

function lines() {
  const find = grouped(["label", state.x]);
  const xs = content.axes[state.x];
  const c = colours();
  places = [];
  const numeric = xs.every((x) => typeof x === "number");
  const wide = numeric && xs.every((x) => x > 0) && Math.max(...xs) >= 20 * Math.min(...xs);
  const traces = content.methods.map((method, k) => {
    const found = xs.map((x) => ({ x, rows: find(method, key(state.x, x)) }));
    const all = found.map(({ x, rows }) => {
      const s = statistics(rows);
      places.push({ rows, told: sentence(`${method}, ${state.x} = ${told(x)}`, s) });
      return s;
    });
    const colour = k === 0 ? c.ours : PEERS[(k - 1) % PEERS.length];
    return {
      type: "scatter", mode: "lines+markers", name: plain(method),
      x: numeric ? xs : xs.map(plain), y: all.map((s) => s.mean),
      text: found.map((_, i) => lined(places[places.length - xs.length + i].told)),
      hoverinfo: "text", line: { color: colour }, marker: { color: colour },
      error_y: { type: "data", array: all.map((s) => s.half), color: colour, thickness: 1 },
    };
  });
  columnsOfChart = xs.length;
  return {
    traces,
    layout: {
      xaxis: { title: { text: plain(state.x) }, type: numeric ? (wide ? "log" : "linear") : "category" },
      yaxis: { title: { text: plain(state.metric) } },
    },
  };
}

function bars() {
  const find = grouped(["label"]);
  const c = colours();
  places = content.methods.map((method) => {
    const rows = find(method);
    return { rows, told: sentence(method, statistics(rows)) };
  });
  const all = places.map((p) => statistics(p.rows));
  columnsOfChart = content.methods.length;
  return {
    traces: [{
      type: "bar", x: content.methods.map(plain), y: all.map((s) => s.mean),
      text: places.map((p) => lined(p.told)), textposition: "none",
      hoverinfo: "text", marker: { color: c.ours },
      error_y: { type: "data", array: all.map((s) => s.half), color: c.ink },
    }],
    layout: { xaxis: { type: "category" }, yaxis: { title: { text: plain(state.metric) } } },
  };
}

// return a value of an axis as the columns have it: a number, or else a text
function key(name, x) {
  if (isNumber[name]) return x;
  if (x === true) return "True";
  if (x === false) return "False";
  return x === null ? "" : String(x);
}

function sentence(where, s) {
  const failed = s.failed ? `; ${s.failed} failed` : "";
  if (!s.n) return `${where}; no finished cells${failed}`;
  return `${where}; ${state.metric} ${told(s.mean)} on average, ${told(s.least)} to `
    + `${told(s.most)}; ${s.n} cells${failed}`;
}

function choose(number) {
  if (!places[number]) return;
  at = number;
  mark();
  const shown = byId("certificate");
  const certified = cellTable(
    byId("records"), places[number].rows.slice(), "records of the place", shown);
  showCertificate(shown, certified);
}

// describe the chosen place, and outline it in a heat map
function mark() {
  byId("chosen").textContent = places[at] ? places[at].told : "";
  if (!state.y) return;
  const i = at % columnsOfChart, j = Math.floor(at / columnsOfChart);
  Plotly.relayout("chart", { shapes: [{
    type: "rect", x0: i - 0.5, x1: i + 0.5, y0: j - 0.5, y1: j + 0.5,
    line: { color: colours().focus, width: 3 },
  }] });
}

function selector(name, options, label) {
  const select = element("select", { id: `select-${name}` });
  for (const option of options) {
    const shown = option === "" ? "none" : option;
    select.append(element("option", { value: option, textContent: shown }));
  }
  select.value = state[name];
  select.addEventListener("change", () => { state[name] = select.value; draw(); mark(); });
  const text = element("label", { htmlFor: select.id, textContent: `${label} ` });
  return element("span", {}, text, select);
}

function startChart() {
  const controls = byId("controls");
  controls.addEventListener("submit", (event) => event.preventDefault());
  controls.append(selector("metric", content.metrics.filter((m) => m in content.columns), "metric"));
  if (axes.length) controls.append(selector("x", axes, "x"), selector("y", ["", ...axes], "y"));
  if (axes.length > 1) controls.append(selector("method", content.methods, "method"));
  byId("map").hidden = false;
  draw();
  const chart = byId("chart");
  chart.on("plotly_click", ({ points: [point] }) => {
    const inMap = Array.isArray(point.pointNumber);
    choose(inMap
      ? point.pointNumber[0] * columnsOfChart + point.pointNumber[1]
      : point.curveNumber * columnsOfChart + point.pointNumber);
  });
  chart.addEventListener("keydown", (event) => {
    const steps = {
      ArrowRight: 1, ArrowLeft: -1, ArrowUp: columnsOfChart, ArrowDown: -columnsOfChart,
    };
    if (event.key === "Enter") {
      choose(at);
    } else if (event.key in steps) {
      event.preventDefault();
      at = Math.min(Math.max(at + steps[event.key], 0), places.length - 1);
      mark();
    }
  });
}

// -- the page ----------------------------------------------------------------------------------

function startSummary() {
  const find = grouped(["label"]);
  const before = state.metric;
  const rows = content.methods.map((method) => {
    const mine = find(method);
    const row = { method, cells: mine.length };
    for (const metric of content.metrics) {
      state.metric = metric;
      row[metric] = statistics(mine).mean;
    }
    state.metric = before;
    row.failed = mine.filter((cell) => value("status", cell) === "failed").length;
    return row;
  });
  byId("summary").hidden = false;
  objects(byId("summary").querySelector(".table"), rows, "means by method");
}

function startEnvironment() {
  const rows = content.starts.map((start, i) => ({
    start: i + 1,
    when: start.started,
    command: start.command,
    processor: `${start.processor}, ${start.cores} cores`,
    system: start.platform,
    versions: Object.entries(start.versions).map(([name, v]) => `${name} ${v}`).join(", "),
  }));
  if (rows.length) objects(byId("environment").querySelector(".table"), rows, "starts of the run");
}

function start() {
  const n = (status) => {
    let count = 0;
    for (let row = 0; row < nCells; row += 1) count += value("status", row) === status;
    return count;
  };
  byId("told").textContent =
    `${n("done")} cells done, ${n("failed")} failed; secateurs ${content.version}`;
  if (content.claims.length) {
    byId("claims").hidden = false;
    const keys = ["paper", "claim", "verdict", "quantity", "expected", "low", "high", "measured",
      "statement", "source", "cpu_seconds", "error"];
    objects(byId("claims").querySelector(".table"), content.claims, "claims", keys);
  }
  if (content.kind === "sweep" && nCells) {
    startChart();
    startSummary();
  }
  startCertificates();
  if (content.boundaries.length) {
    byId("boundaries").hidden = false;
    objects(byId("boundaries").querySelector(".table"), content.boundaries, "transitions");
  }
  for (const figure of content.figures) {
    byId("figures").hidden = false;
    const caption = element("figcaption", { textContent: figure.name, className: "note" });
    if (figure.source === null) caption.textContent += ": too large for this page; see the run folder";
    byId("figures").querySelector(".pictures").append(element("figure", {},
      ...(figure.source ? [element("img", { src: figure.source, alt: figure.name })] : []),
      caption));
  }
  cellTable(byId("cells").querySelector(".table"), Array.from({ length: nCells }, (_, i) => i),
    "all cells", byId("cells").querySelector(".certificate"));
  byId("settings").hidden = !content.settings;
  byId("settings").querySelector("pre").textContent = content.settings;
  startEnvironment();
  for (const section of document.querySelectorAll("main section")) {
    if (section.hidden) continue;
    const text = section.querySelector("h2").textContent;
    byId("sections").append(element("a", { href: `#${section.id}`, textContent: text }));
  }
  byId("theme").addEventListener("click", () => {
    const root = document.documentElement;
    const dark = root.dataset.theme
      ? root.dataset.theme === "dark"
      : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    if (!byId("map").hidden) draw();
  });
  document.documentElement.dataset.ready = "yes";
}

start();
