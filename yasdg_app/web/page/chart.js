/* The chart: sales or revenue per minute of event time, stacked by category, with incidents as shaded bands; also as tables.

Bands and their names are elements above the canvas, so that screen readers and tests can read them. */

import { $, arrange, make, row, setAttribute, setText } from "./dom.js";
import { MEASURES, parsed } from "./format.js";

const MINUTE = 60_000;
const FUTURE_MINUTES = 10; // to the right of the last complete one: the present, and incidents that start soon
const MAX_LAYERS = 8; // distinguishable colours; with more categories, the last is for all others
const LANE_PIXELS = 19; // between the names of two simultaneous incidents
const { uPlot } = window;

export class Chart {
  #plot = null;
  #made = ""; // what the plot was created for; if that changes, it is created again
  #categories = new Set(); // all that have ever been seen
  #groups = []; // {label, categories}: each is a layer, from the bottom
  #shown = null; // what is shown: {snapshot, measure, time, first, minutes, values}
  #table = ""; // what the table of minutes shows

  constructor() {
    new ResizeObserver(() => this.#resize()).observe($("chart"));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#redraw());
    $("minutes").addEventListener("toggle", () => this.#minutes());
  }

  /** `measure`: sales or revenue; `time`: a ShopTime. */
  draw(snapshot, measure, time) {
    const { series } = snapshot;
    if (!series) return; // no complete minute yet
    this.#group(snapshot);
    const columns = Object.values(series.categories).map((each) => each[measure]);
    // A category without a sale is absent; it is 0 in minutes in which another category is known.
    const nothing = Array.from({ length: series.minutes }, (_, at) => (columns.some((column) => column[at] != null) ? 0 : null));
    const column = (name) => series.categories[name]?.[measure] ?? nothing;
    const values = this.#groups.map((group) => sums(group.categories.map(column), series.minutes));
    this.#shown = { snapshot, measure, time, first: parsed(series.first), minutes: series.minutes, values };
    setText($("chart-measure"), measure === "sales" ? "Sales" : "Revenue");
    this.#plotted();
    this.#bands();
    this.#legend();
    this.#minutes();
  }

  /** Return the index of a category's colour. */
  layerOf(category) {
    return this.#groups.findIndex((group) => group.categories.includes(category));
  }

  /** Assign a colour to each category; again only when a new category appears. */
  #group(snapshot) {
    const before = this.#categories.size;
    for (const name of Object.keys(snapshot.series.categories)) this.#categories.add(name);
    for (const each of snapshot.products) this.#categories.add(each.category);
    if (this.#categories.size === before) return;
    const categories = [...this.#categories].sort();
    const revenue = byCategory(snapshot.windows.day);
    const most = (one, other) => (revenue[other]?.revenue ?? 0) - (revenue[one]?.revenue ?? 0);
    const largest = categories.length > MAX_LAYERS ? categories.toSorted(most).slice(0, MAX_LAYERS - 1) : categories;
    const others = categories.filter((name) => !largest.includes(name));
    this.#groups = categories.filter((name) => largest.includes(name)).map((name) => ({ label: name, categories: [name] }));
    if (others.length) this.#groups.push({ label: `${others.length} others`, categories: others });
  }

  #plotted() {
    const { first, minutes, values, measure, time } = this.#shown;
    // One more point, so that the last step is as wide as the others.
    const x = Array.from({ length: minutes + 1 }, (_, minute) => first / 1000 + 60 * minute);
    const layers = stacked(values, minutes).map((layer) => [...layer, layer.at(-1) ?? null]);
    const made = JSON.stringify([this.#groups.map((group) => group.label), measure, time.zone]);
    if (made !== this.#made) {
      this.#plot?.destroy();
      this.#made = made;
      this.#plot = new uPlot(this.#options(), [x, ...layers], $("chart"));
    } else this.#plot.setData([x, ...layers]);
    const last = values.map((layer) => layer.at(-1));
    const all = MEASURES[measure](total(last));
    const from = time.near(first, first + minutes * MINUTE);
    const label = `${measure === "sales" ? "Sales" : "Revenue"} per minute from ${from} to ${time.minute(first + minutes * MINUTE)}, stacked by category; ${all} in the last complete minute. The tables below have the values.`;
    setAttribute($("chart"), "aria-label", label);
  }

  #options() {
    const { measure, time } = this.#shown;
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(name).trim();
    const axis = { stroke: colour("--muted"), font: `12px ${style.getPropertyValue("--font")}`, ticks: { show: false } };
    const grid = { stroke: colour("--line"), width: 1 };
    return {
      ...this.#size(),
      padding: [26, 18, 0, 0],
      tzDate: (at) => uPlot.tzDate(new Date(at * 1000), time.zone),
      legend: { show: false },
      cursor: { y: false, points: { show: false }, drag: { x: false, y: false } },
      scales: {
        x: { range: (plot) => [plot.data[0][0], plot.data[0].at(-1) + 60 * FUTURE_MINUTES] },
        y: { range: (plot, least, most) => [0, Math.max(1, most ?? 0) * 1.06] },
      },
      axes: [
        { ...axis, grid: { show: false }, space: 64, size: 28, values: (plot, at) => at.map((seconds) => time.minute(seconds * 1000)) },
        { ...axis, grid, space: 36, size: 46, values: (plot, at) => at.map((value) => short(value)) },
      ],
      series: [
        {},
        ...this.#groups.map((group, at) => ({
          label: group.label,
          scale: "y",
          fill: colour(`--series-${at}`),
          width: 0,
          points: { show: false },
          paths: uPlot.paths.stepped({ align: 1 }),
        })),
      ],
      bands: this.#groups.slice(1).map((_, at) => ({ series: [at + 2, at + 1] })),
      hooks: { setCursor: [() => this.#shown && this.#legend()], setSize: [() => this.#shown && this.#plot && this.#bands()] },
    };
  }

  #size() {
    const width = Math.max(200, $("chart").clientWidth);
    return { width, height: width < 500 ? 230 : 290 };
  }

  #resize() {
    if (this.#plot && this.#plot.width !== this.#size().width) this.#plot.setSize(this.#size());
  }

  #redraw() {
    if (!this.#shown) return;
    this.#made = "";
    this.#plotted();
    this.#bands();
  }

  #bands() {
    const { snapshot, time } = this.#shown;
    const { min, max } = this.#plot.scales.x;
    const wide = this.#plot.over.clientWidth;
    const place = (at) => (at / 1000 - min) / (max - min) * wide;
    const left = (incident) => Math.max(0, place(parsed(incident.start)));
    const seen = snapshot.incidents
      .filter((each) => each.start < each.end && place(parsed(each.end)) > 0 && place(parsed(each.start)) < wide)
      .sort((one, other) => parsed(one.start) - parsed(other.start));
    const lanes = []; // the right end of the last name in each lane
    const bands = seen.map((incident) => {
      const from = left(incident);
      const label = incident.name.length * 7 + 12;
      const at = Math.max(0, Math.min(from, wide - label));
      let lane = lanes.findIndex((end) => end <= at);
      if (lane < 0) lane = lanes.length;
      lanes[lane] = at + label;
      return { incident, from, to: Math.min(wide, place(parsed(incident.end))), label: at - from, lane };
    });
    arrange(this.#layer("bands"), bands, (band) => band.incident.name, () => make("div", { class: "band" }, make("span")), (node, band) => {
      const { incident } = band;
      for (const name of ["kind", "start", "end"]) node.dataset[name] = incident[name];
      node.dataset.name = incident.name;
      node.style.left = `${band.from}px`;
      node.style.width = `${Math.max(2, band.to - band.from)}px`;
      const name = node.firstElementChild;
      name.style.left = `${band.label}px`;
      name.style.top = `${band.lane * LANE_PIXELS - 24}px`;
      setText(name, incident.name);
    });
    const now = place(parsed(snapshot.now));
    arrange(this.#layer("now"), now < wide ? [now] : [], () => 0, () => make("div", { class: "now" }), (node) => {
      node.style.left = `${now}px`;
      node.title = `Now: ${time.second(parsed(snapshot.now))}`;
    });
  }

  #layer(name) {
    const { over } = this.#plot;
    let layer = over.querySelector(`:scope > .${name}-layer`);
    if (!layer) over.append((layer = make("div", { class: `${name}-layer` })));
    return layer;
  }

  #legend() {
    const { snapshot, measure, time, first, minutes, values } = this.#shown;
    const under = this.#plot?.cursor.idx;
    const at = under == null ? minutes - 1 : Math.min(under, minutes - 1);
    const of = Object.fromEntries(["hour", "day"].map((name) => [name, byCategory(snapshot.windows[name])]));
    const shown = MEASURES[measure];
    const layers = this.#groups.map((group, layer) => ({
      ...group,
      layer,
      minute: values[layer][at],
      hour: total(group.categories.map((name) => of.hour[name]?.[measure] ?? 0)),
      day: total(group.categories.map((name) => of.day[name]?.[measure] ?? 0)),
    }));
    setText($("legend-minute"), minutes ? time.minute(first + at * MINUTE) : "Minute");
    arrange($("legend"), layers.toReversed(), (layer) => layer.label, createLegend, (node, layer) => {
      node.dataset.category = layer.label;
      node.cells[0].firstElementChild.className = `swatch swatch-${layer.layer}`;
      setText(node.cells[0].lastElementChild, layer.label);
      for (const [cell, name] of [[1, "minute"], [2, "hour"], [3, "day"]]) setText(node.cells[cell], shown(layer[name]));
    });
    setText($("legend-all"), shown(total(layers.map((layer) => layer.minute))));
    setText($("legend-hour"), shown(total(Object.values(of.hour).map((each) => each[measure]))));
    setText($("legend-day"), shown(total(Object.values(of.day).map((each) => each[measure]))));
  }

  #minutes() {
    if (!$("minutes").open || !this.#shown) return;
    const { snapshot, measure, time, first, minutes, values } = this.#shown;
    const filled = JSON.stringify([measure, snapshot.series.first, values, snapshot.incidents.map((each) => [each.name, each.start, each.end])]);
    if (filled === this.#table) return;
    this.#table = filled;
    const shown = MEASURES[measure];
    const heads = ["Minute", ...this.#groups.map((group) => group.label), "All", "Incidents"];
    const [head, body] = $("minutes").querySelectorAll("thead tr, tbody");
    arrange(head, heads, (name) => name, () => make("th", { scope: "col" }), setText);
    const rows = Array.from({ length: minutes }, (_, at) => minutes - 1 - at);
    arrange(body, rows, (minute) => rows.length - minute, () => row(heads.length), (node, minute) => {
      const at = first + minute * MINUTE;
      const here = values.map((layer) => layer[minute]);
      const on = snapshot.incidents.filter((each) => parsed(each.start) < at + MINUTE && at < parsed(each.end));
      const texts = [time.minute(at), ...here.map(shown), shown(total(here)), on.map((each) => each.name).join(", ")];
      texts.forEach((text, cell) => setText(node.cells[cell], text));
      node.dataset.minute = new Date(at).toISOString();
    });
  }
}

const createLegend = () => {
  const made = row(4);
  made.cells[0].append(make("i"), make("span"));
  return made;
};

/** The sum of the known values; null if there is none. */
function total(values) {
  const known = values.filter((value) => value != null);
  return known.length ? known.reduce((sum, value) => sum + value, 0) : null;
}

function sums(columns, minutes) {
  return columns.length === 1 ? columns[0] : Array.from({ length: minutes }, (_, at) => total(columns.map((column) => column[at])));
}

/** Stack each layer on those below it. */
function stacked(values, minutes) {
  const below = new Array(minutes).fill(0);
  return values.map((layer) => layer.map((value, at) => (value == null ? null : (below[at] += value))));
}

const byCategory = (window) => Object.fromEntries(window.categories.map((each) => [each.category, each]));

function short(value) {
  if (value >= 1_000_000) return `${value / 1_000_000}M`;
  return value >= 10_000 ? `${value / 1000}k` : String(value);
}

