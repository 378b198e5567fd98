// What moves in the report: sorting, tips, the story of a cell, charts, light and dark.
// Every text from the data becomes a text node; nothing is parsed as HTML.

const data = JSON.parse(document.getElementById("embedded").textContent);
const story = document.getElementById("story");
const large = document.getElementById("large");
const tip = document.getElementById("tip");
const percent = new Intl.NumberFormat("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 });

/** An element with attributes and children; strings become text. */
function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

// --------------------------------------------------------------------------------------- tables

/** What a row is sorted by in a column: a number where the field is one, else its text. */
function fieldOf(row, column) {
  const cell = row.cells[column];
  const text = cell.dataset.value ?? cell.textContent.trim();
  const number = Number(text.replaceAll(",", "").replace("−", "-"));
  return text === "" || text === "–" ? null : Number.isNaN(number) ? text : number;
}

function compare(a, b) {
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a).localeCompare(String(b), "en", { numeric: true });
}

/** Descending first for numbers, ascending first for texts; missing fields stay last. */
function sort(header) {
  const table = header.closest("table");
  const first = header.classList.contains("number") ? "descending" : "ascending";
  const other = first === "ascending" ? "descending" : "ascending";
  const order = header.getAttribute("aria-sort") === first ? other : first;
  for (const each of table.tHead.rows[0].cells) each.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", order);
  const rows = [...table.tBodies[0].rows].map((row) => [row, fieldOf(row, header.cellIndex)]);
  rows.sort(([, a], [, b]) => {
    if (a === null || b === null) return (a === null) - (b === null);
    return order === "ascending" ? compare(a, b) : compare(b, a);
  });
  table.tBodies[0].append(...rows.map(([row]) => row));
}

// ----------------------------------------------------------------------------------------- tips

let tipped = null;

/** The interval of a cell, shown while it is pointed at or has the focus. */
function showTip(button) {
  tipped = button;
  const cell = data.cells[button.dataset.cell];
  const lines = [
    cell.interval ? `95% interval over seeds ${cell.interval}` : "one seed: no interval",
    `${cell.seeds.length} seed${cell.seeds.length === 1 ? "" : "s"}`,
    ...(cell.improvement === "–" ? [] : [`over ${data.baseline}: ${cell.improvement}%`]),
    cell.paper ? `published ${cell.paper}` : "not in the paper",
    ...(cell.verdict ? [`verdict: ${cell.verdict}`] : []),
  ];
  tip.textContent = lines.join("\n");
  tip.hidden = false;
  const box = button.getBoundingClientRect();
  const above = box.top - tip.offsetHeight - 8;
  const left = box.right - tip.offsetWidth;
  tip.style.top = `${above > 60 ? above : box.bottom + 8}px`;
  tip.style.left = `${Math.max(8, Math.min(left, innerWidth - tip.offsetWidth - 8))}px`;
  button.setAttribute("aria-describedby", "tip");
}

function hideTip(button) {
  tipped = null;
  tip.hidden = true;
  button.removeAttribute("aria-describedby");
}

// --------------------------------------------------------------------------------------- charts

/** A colour of the style sheet as it is now, in light or dark. */
function colour(name) {
  const probe = document.body.appendChild(element("i", { style: `color: var(--${name})` }));
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

function look() {
  const [ink, soft, line] = ["ink", "soft", "line"].map(colour);
  return {
    background: "transparent",
    font: getComputedStyle(document.body).fontFamily,
    view: { stroke: null },
    axis: {
      labelColor: soft, titleColor: soft, gridColor: line, domainColor: line, tickColor: line,
      labelFontSize: 11, titleFontSize: 11, titleFontWeight: "normal", titlePadding: 8,
    },
    legend: {
      labelColor: ink, titleColor: soft, labelFontSize: 12, orient: "top", title: null,
      symbolStrokeWidth: 2, columnPadding: 16,
    },
    range: { category: ["first", "other", "third", "soft"].map(colour) },
  };
}

/** Draw a Vega-Lite chart into a new box under `place`. */
function draw(place, title, spec) {
  const box = element("div", { class: "vega" });
  place.append(element("div", {}, title ? element("h4", {}, title) : null, box));
  const whole = { width: "container", height: 150, autosize: { type: "fit-x", contains: "padding" }, ...spec };
  vegaEmbed(box, whole, { actions: false, ast: true, renderer: "svg", config: look(), tooltip: { theme: "custom" } })
    .catch((error) => console.error(error));
}

const epochs = (values, field = "epoch") => ({
  field, type: "quantitative", title: "epoch", scale: { nice: false },
  axis: { values: [...new Set(values.map((value) => value[field]))].sort((a, b) => a - b).filter((e, i, all) => i % Math.ceil(all.length / 8) === 0), format: "d", grid: false, labelFlush: false },
});

const metricName = ({ metric }) => (metric === "accuracy" ? "Accuracy" : metric.toUpperCase());

/** Losses of an encoder's pre-training, a line per seed and split. */
function lossChart(encoders) {
  const values = encoders.flatMap((encoder) =>
    encoder.curve.map(({ epoch, split, loss }) => ({ epoch, split, loss, seed: encoder.name.split("/seed").pop() })));
  return {
    data: { values },
    mark: { type: "line", point: { size: 18 }, strokeWidth: 1.6 },
    encoding: {
      x: epochs(values),
      y: { field: "loss", type: "quantitative", title: "loss", scale: { zero: false }, axis: { tickCount: 4 } },
      color: { field: "seed", type: "nominal", legend: null },
      strokeDash: { field: "split", type: "nominal", scale: { domain: ["train", "validation"], range: [[1, 0], [4, 3]] }, legend: null },
      tooltip: ["seed", "split", "epoch", { field: "loss", format: ".4f" }].map((e) => (typeof e === "string" ? { field: e } : e)),
    },
  };
}

/** Validation scores of one seed's fine-tuning from its best checkpoint, in percent. */
function validationOf(cell, seed) {
  return seed.scores
    .filter((s) => s.split === "validation" && s.metric === cell.metric && s.pretrain_epoch === seed.best.pretrain_epoch && s.start === seed.best.start && s.epoch > 0)
    .map((s) => ({ seed: String(seed.seed), epoch: s.epoch, score: 100 * s.value }));
}

function validationChart(cell) {
  const values = cell.seeds.flatMap((seed) => validationOf(cell, seed));
  return {
    data: { values },
    mark: { type: "line", point: { size: 22 }, strokeWidth: 1.6 },
    encoding: {
      x: epochs(values),
      y: { field: "score", type: "quantitative", title: `${metricName(cell)}, %`, scale: { zero: false }, axis: { tickCount: 4 } },
      color: { field: "seed", type: "nominal", legend: { title: "seed" } },
      tooltip: [{ field: "seed" }, { field: "epoch" }, { field: "score", format: ".2f" }],
    },
  };
}

/** Mean validation scores of every row in one task; the row pointed at stands out. */
function taskChart(cells) {
  const values = cells.flatMap((cell) => {
    const points = Map.groupBy(cell.seeds.flatMap((seed) => validationOf(cell, seed)), (point) => point.epoch);
    return [...points].map(([epoch, own]) => ({
      row: cell.label, epoch, score: own.reduce((sum, point) => sum + point.score, 0) / own.length,
    }));
  });
  const pointed = { param: "pointed", empty: false };
  return {
    data: { values },
    height: 220,
    params: [{ name: "pointed", select: { type: "point", fields: ["row"], on: "pointerover", clear: "pointerout" } }],
    mark: { type: "line", point: { size: 40 } },
    encoding: {
      x: epochs(values),
      y: { field: "score", type: "quantitative", title: `${metricName(cells[0])}, %`, scale: { zero: false }, axis: { tickCount: 5 } },
      detail: { field: "row" },
      color: { condition: { ...pointed, value: colour("other") }, value: colour("first") },
      opacity: { condition: { ...pointed, value: 1 }, value: 0.45 },
      strokeWidth: { condition: { ...pointed, value: 3 }, value: 1.5 },
      tooltip: [{ field: "row" }, { field: "epoch" }, { field: "score", format: ".2f" }],
    },
  };
}

/** Processes in their rows; those of a row that ran at the same time lie in lanes below one another. */
function inLanes(jobs) {
  const lanes = new Map();  // row -> when each of its lanes is free
  return jobs.map((job) => {
    const row = data.labels[job.run] ?? job.run;
    const free = lanes.get(row) ?? lanes.set(row, []).get(row);
    const found = free.findIndex((end) => end <= job.begin);
    const lane = found < 0 ? free.length : found;
    free[lane] = job.finish;
    return { ...job, row, lane, seeds: job.seeds.join(", ") || "–" };
  });
}

function jobChart() {
  const jobs = inLanes(data.jobs);
  const order = [...new Set(jobs.map((job) => job.row))];
  const stages = ["pre-training", "fine-tuning", "baselines", "data"].filter((stage) => jobs.some((job) => job.stage === stage));
  const stage = { field: "stage", type: "nominal", sort: null, scale: { domain: stages } };
  return {
    data: { values: jobs },
    height: 32 * order.length,
    mark: { type: "bar", height: { band: 0.9 } },
    encoding: {
      x: { field: "begin", type: "quantitative", title: "minutes" },
      x2: { field: "finish" },
      y: { field: "row", type: "nominal", title: null, sort: order, axis: { labelFontSize: 12, domain: false, ticks: false, grid: true } },
      yOffset: { field: "lane", type: "nominal" },
      stroke: stage,  // what took no time at all is seen
      color: stage,
      tooltip: [
        { field: "row" }, { field: "stage" }, { field: "corpus" }, { field: "seeds" }, { field: "started" },
        { field: "minutes", format: ".1f" }, { field: "memory_mib", title: "peak MiB", format: ",.0f" },
      ],
    },
  };
}

const charts = {
  losses(place) {
    const groups = Map.groupBy(Object.values(data.encoders).filter((e) => e.curve.length), (e) => e.name.split("/seed")[0]);
    const corpora = new Set([...groups.keys()].map((name) => name.split("/")[1]));
    for (const [name, encoders] of groups) {
      const [run, corpus] = name.split("/");
      draw(place, `${data.labels[run] ?? run}${corpora.size > 1 ? ` · ${corpus}` : ""}`, lossChart(encoders));
    }
  },
  validation(place) {
    const trained = Object.values(data.cells).filter((cell) => cell.seeds.some((seed) => seed.best.epoch > 0));
    for (const [task, cells] of Map.groupBy(trained, (cell) => cell.task)) draw(place, task, taskChart(cells));
  },
  jobs(place) {
    if (data.jobs.length) draw(place, null, jobChart());
  },
};

// Charts are drawn when they come into view, and again when the colours change.
const seen = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (isIntersecting && !target.childElementCount) charts[target.dataset.charts](target);
  }
}, { rootMargin: "400px" });

function redraw() {
  for (const place of document.querySelectorAll("[data-charts]")) {
    place.style.minHeight = `${place.offsetHeight}px`;  // or what is being read would jump
    place.replaceChildren();
    seen.unobserve(place);
    seen.observe(place);
  }
}

// ---------------------------------------------------------------------------------------- story

/** A list of terms; missing ones are left out. */
function terms(entries) {
  const known = entries.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return element("dl", {}, ...known.flatMap(([term, value]) => [element("dt", {}, term), element("dd", {}, value)]));
}

const json = (title, value) =>
  value && element("details", {}, element("summary", {}, title), element("pre", { tabindex: 0 }, JSON.stringify(value, null, 2)));
const code = (text) => text && element("code", {}, text);

/** What a method measured of itself on held-out users, after its first and its last epoch. */
function measured(encoder) {
  const held = encoder.curve.filter((point) => point.split === "validation");
  if (!held.length) return null;
  const named = Object.keys(held[0]).filter((key) => !["epoch", "split", "step"].includes(key));
  const number = (value) => value?.toFixed(3).replace("-", "−") ?? "–";
  const ends = [...new Set([held[0], held.at(-1)])];
  const values = named.map((key) => `${key.replaceAll("_", " ")} ${ends.map((point) => number(point[key])).join(" → ")}`);
  return `${values.join(", ")} (${ends.map((point) => `epoch ${point.epoch}`).join(" → ")})`;
}

/** Precision of a training, and how its steps reached a GPU. */
const computed = (config) => config?.precision && `${config.precision}, ${config.capture === "none" ? "steps not captured" : `steps captured (${config.capture})`}`;

function seedStory(cell, seed) {
  const encoder = data.encoders[seed.encoder];
  const { git, hardware, libraries, python, userbench } = seed.environment;
  const tested = seed.scores.filter((s) => s.split === "test");
  const own = tested.find((s) => s.metric === cell.metric);
  const starts = new Set(seed.scores.map((s) => s.start)).size;
  const machine = hardware && [hardware.processor, `${hardware.cores} cores`, `${hardware.memory_gib} GiB`, hardware.gpu].filter(Boolean).join(", ");
  return element("details", { class: "seed" },
    element("summary", {}, `Seed ${seed.seed}: ${own ? percent.format(100 * own.value) : "–"}`),
    terms([
      ["Test scores", tested.map((s) => `${s.metric} ${percent.format(100 * s.value)}`).join(", ")],
      ["Examples", Object.entries(seed.examples).map(([split, n]) => `${split} ${n.toLocaleString("en")}`).join(", ")],
      ["Chosen epoch", seed.best.epoch ? `${seed.best.epoch} of fine-tuning${encoder ? `, from epoch ${seed.best.pretrain_epoch} of pre-training` : ""}${starts > 1 ? `, from random start ${seed.best.start} of ${starts}` : ""}` : null],
      ["Finished", seed.finished && `${seed.finished}${seed.seconds ? `, after ${seed.seconds.toFixed(1)} s` : ""}`],
      ["Code", userbench && element("span", {}, `userbench ${userbench} `, code(git?.commit) ?? "", git?.changed ? ", changed since" : "", git?.unknown ? ` (${git.unknown})` : "")],
      ["Machine", machine],
      ["Computed in", [["fine-tuning", computed(seed.config)], ["pre-training", computed(encoder?.config)]].filter(([, how]) => how).map(([stage, how]) => `${stage}: ${how}`).join("; ") || null],
      ["Libraries", libraries && [`Python ${python}`, ...Object.entries(libraries).map(([name, version]) => `${name} ${version}`)].join(", ")],
      ["Checkpoint", encoder && element("span", {}, encoder.file, element("br"), "sha256 ", code(encoder.sha256))],
      ["Held-out users", encoder && measured(encoder)],
      ["Warm start", encoder?.start && element("span", {}, encoder.start.file, element("br"), "sha256 ", code(encoder.start.sha256))],
    ]),
    element("div", {}, "This cell alone, again:", element("code", { class: "command", tabindex: 0 }, seed.again)),
    seed.again_all && element("div", {}, "With its pre-training and what that starts from:", element("code", { class: "command", tabindex: 0 }, seed.again_all)),
    data.needs.length ? element("p", { class: "note" }, `Real data are found by ${data.needs.join(", ")}, to be set as for the whole run. One process does all tasks of a corpus.`) : null,
    json("Resolved config of fine-tuning", seed.config),
    encoder && json("Resolved config of pre-training", encoder.config));
}

function open(key) {
  const cell = data.cells[key];
  const encoders = cell.seeds.map((seed) => data.encoders[seed.encoder]).filter((e) => e?.curve.length);
  const figures = [
    ["mean", percent.format(cell.mean)], ["95% interval over seeds", cell.interval], ["seeds", cell.seeds.length],
    [`over ${data.baseline}`, cell.improvement === "–" ? null : `${cell.improvement}%`], ["published", cell.paper], ["verdict", cell.verdict],
  ].filter(([, value]) => value);
  const trained = cell.seeds.some((seed) => seed.best.epoch > 0);
  const grid = element("div", { class: "grid wide" });
  const close = element("button", { type: "button", class: "close", "aria-label": "Close" }, "✕");
  close.addEventListener("click", () => story.close());
  story.firstElementChild.replaceChildren(
    element("header", {}, element("h2", { id: "story-title" }, `${cell.label} · ${cell.task}`), close),
    element("p", { class: "note" }, `${metricName(cell)}, test, in percent${cell.simulated ? " · SIMULATED DATA" : ""}`),
    element("div", { class: "figures" }, ...figures.map(([name, value]) => element("div", {}, element("small", {}, name), String(value)))),
    grid,
    element("h3", {}, "Seeds"),
    ...cell.seeds.map((seed) => seedStory(cell, seed)));
  const first = story.querySelector(".seed");
  if (first) first.open = true;
  story.showModal();
  story.scrollTop = 0;
  if (trained) draw(grid, "Fine-tuning, validation", validationChart(cell));
  if (encoders.length) draw(grid, "Pre-training (dashed: held-out users)", lossChart(encoders));
}

function enlarge(button) {
  const close = element("button", { type: "button", class: "close", "aria-label": "Close" }, "✕");
  close.addEventListener("click", () => large.close());
  const image = button.firstElementChild.cloneNode();
  large.firstElementChild.replaceChildren(element("header", {}, element("span"), close), element("div", { class: "box", tabindex: 0 }, image));
  large.showModal();
}

// ---------------------------------------------------------------------------------------- wiring

document.addEventListener("click", ({ target }) => {
  const header = target.closest("table.sortable thead th");
  if (header) return sort(header);
  const cell = target.closest("[data-cell]");
  if (cell) { hideTip(cell); return open(cell.dataset.cell); }
  const picture = target.closest(".picture");
  if (picture) return enlarge(picture);
  if (target === story || target === large) target.close();  // the backdrop
});

for (const button of document.querySelectorAll("[data-cell]")) {
  for (const name of ["pointerenter", "focus"]) button.addEventListener(name, () => showTip(button));
  for (const name of ["pointerleave", "blur"]) button.addEventListener(name, () => hideTip(button));
}
document.addEventListener("scroll", () => tipped && showTip(tipped), { capture: true, passive: true });

const themes = ["system", "light", "dark"];
const theme = document.getElementById("theme");
let chosen = 0;
theme.addEventListener("click", () => {
  chosen = (chosen + 1) % themes.length;
  document.documentElement.dataset.theme = themes[chosen];
  theme.textContent = "◐☼☾"[chosen];
  theme.setAttribute("aria-label", `Colours: ${chosen ? themes[chosen] : "as the system"}`);
  redraw();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
redraw();
