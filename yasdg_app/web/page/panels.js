/* Totals, best sellers, shelves, restocks, lost sales and workers: each panel is a function of a snapshot. */

import { $, arrange, make, row, setAttribute, setText } from "./dom.js";
import { MEASURES, amount, count, decimal, length, parsed, partitions, ranges } from "./format.js";

const MAX_SELLERS = 10;
const NOT_YET = "No complete minute yet.";
const MEASURED = ["sales", "units", "revenue"];

export function totals({ totals: all, windows, opened_at, missing }, time) {
  for (const node of document.querySelectorAll("[data-total]")) {
    setText(node, (node.dataset.total === "revenue" ? amount : count)(all[node.dataset.total]));
  }
  for (const node of document.querySelectorAll("[data-hour]")) {
    const name = node.dataset.hour;
    const sum = windows.hour?.categories.reduce((so_far, each) => so_far + each[name], 0);
    setText(node, sum == null ? "" : `${MEASURES[name](sum)} in the last hour`);
  }
  const opened = parsed(opened_at);
  const without = missing.flatMap((each) => each.partitions);
  const partly = without.length ? `, without ${partitions(without)}` : "";
  setText($("opened"), `on ${time.date(opened)} at ${time.minute(opened)}${partly}`);
}

/** `name`: minute, hour or day. */
export function sellers({ windows, through }, name, time) {
  if (!windows[name]) return setText($("sellers-note"), NOT_YET);
  const minutes = { minute: 1, hour: 60, day: 1440 }[name];
  const end = parsed(through);
  const start = time.near(end - minutes * 60_000, end);
  const best = windows[name].products.slice(0, MAX_SELLERS);
  const partly = windows[name].complete ? "" : " (incomplete)";
  setText($("sellers-note"), `${best.length ? "" : "No sales from "}${start} to ${time.minute(end)}${partly}`);
  const most = Math.max(1, ...best.map((each) => each.sales));
  arrange($("sellers"), best.map((each, rank) => ({ ...each, rank })), (each) => each.rank, createSeller, (node, each) => {
    node.dataset.product = each.product_id;
    setText(node.cells[0], each.rank + 1);
    setText(node.cells[1].firstElementChild, each.item);
    setText(node.cells[1].lastElementChild.previousElementSibling, each.product_id);
    node.querySelector(".bar i").style.width = `${(100 * each.sales) / most}%`;
    MEASURED.forEach((measure, at) => setText(node.cells[2 + at], MEASURES[measure](each[measure])));
  });
}

const createSeller = () => {
  const made = row(5, 1);
  made.cells[1].append(make("span"), make("small"), bar());
  return made;
};

const bar = () => make("span", { class: "bar", "aria-hidden": "true" }, make("i"), make("b"));

const lastKnown = new Map(); // products by id, as their worker last reported them

/** `layerOf`: returns the index of a category's colour. */
export function shelves({ products, products_in_all, missing, now }, time, layerOf) {
  const current = new Set(products.map((each) => each.product_id));
  for (const id of lastKnown.keys()) if (!current.has(id) && !missing.length) lastKnown.delete(id);
  for (const each of products) lastKnown.set(each.product_id, each);
  const shown = [...lastKnown.values()].sort((one, other) => compare(one.category, other.category) || compare(one.product_id, other.product_id));
  const at = parsed(now);
  const grouped = shown.flatMap((each, n) => (each.category === shown[n - 1]?.category ? [each] : [{ heads: each.category }, each]));
  arrange($("shelves"), grouped, (each) => (each.heads === undefined ? `product ${each.product_id}` : `category ${each.heads}`), createShelf, (node, each) => {
    if (each.heads !== undefined) return head(node, each.heads, layerOf(each.heads));
    const old = !current.has(each.product_id);
    const full = Math.max(each.initial, each.minimum + each.restock_amount, each.level, 1);
    const [product, level, order, empty, sold] = node.cells;
    node.dataset.product = each.product_id;
    node.classList.toggle("old", old);
    setText(product.firstElementChild, each.item);
    setText(product.lastElementChild, each.product_id);
    setText(level.querySelector(".level"), count(each.level));
    setText(level.querySelector(".minimum"), `| ${count(each.minimum)}`);
    setText(level.querySelector(".mark"), old ? "last known" : state(each));
    node.dataset.state = old ? "" : state(each);
    level.querySelector("i").style.width = `${(100 * each.level) / full}%`;
    level.querySelector("b").style.left = `${(100 * each.minimum) / full}%`;
    const promised = each.promised == null ? "" : time.near(parsed(each.promised), at);
    setText(order.firstElementChild, each.on_order ? count(each.on_order) : "–");
    order.lastElementChild.hidden = !promised;
    setText(order.lastElementChild.lastElementChild, promised);
    setText(empty, old ? "–" : each.level <= 0 ? "empty" : each.to_empty == null ? "never" : length(each.to_empty));
    setText(sold, count(each.sold));
  });
  const low = products.filter((each) => each.level <= each.minimum);
  const none = low.filter((each) => each.level <= 0).length;
  const of = products.length < products_in_all && !missing.length ? `Top ${count(products.length)} of ${count(products_in_all)} products by sales; ` : "";
  setText($("shelves-note"), `${of}${low.length - none} low, ${none} empty`);
}

function head(node, category, layer) {
  node.firstElementChild.firstElementChild.className = `swatch swatch-${layer}`;
  setText(node.firstElementChild.lastElementChild, category);
}

const createShelf = ({ heads }) => {
  if (heads !== undefined) return make("tr", { class: "heads" }, make("th", { scope: "rowgroup", colspan: "5" }, make("i"), make("span")));
  const made = row(5);
  const [product, level, order, , sold] = made.cells;
  product.append(make("span"), make("small"));
  const number = make("span", { class: "number" }, make("span", { class: "level" }), make("span", { class: "minimum" }));
  level.append(make("div", {}, number, bar(), make("span", { class: "mark" })));
  order.append(make("span"), make("small", {}, make("span", { class: "due" }, "due "), make("span")));
  sold.className = "wide";
  return made;
};

const compare = (one, other) => (one < other ? -1 : one > other ? 1 : 0);
const state = ({ level, minimum }) => (level <= 0 ? "empty" : level <= minimum ? "low" : "");

const REASONS = { sold_out: "sold out", too_few: "too few left", held_up: "delivery late" };

/** Restocks and lost sales, latest first. */
export function latest({ restocks, lost_sales, now, products }, time) {
  const items = new Map([...lastKnown.values(), ...products].map((each) => [each.product_id, each.item]));
  const named = (id) => items.get(id) ?? id;
  const at = parsed(now);
  arrange($("restocks"), restocks, (each) => each.stocking_id, createLatest, (node, each) => {
    node.dataset.id = each.stocking_id;
    const texts = [time.near(parsed(each.event_time), at, true), null, `+${count(each.stock_quantity)}`, `${count(each.existing_level)} → ${count(each.new_level)}`];
    fill(node, texts, named(each.product_id), each.product_id);
  });
  arrange($("lost-sales"), lost_sales, (each) => each.lost_sale_id, createLatest, (node, each) => {
    node.dataset.id = each.lost_sale_id;
    const took = each.substitute ? `, took ${named(each.substitute)}` : "";
    const why = `${REASONS[each.reason] ?? each.reason}${each.incident ? ` (${each.incident})` : ""}${took}`;
    const wanted = each.quantity === 1 ? each.product_id : `${each.product_id} × ${count(each.quantity)}`;
    fill(node, [time.near(parsed(each.event_time), at, true), null, why, amount(each.value)], named(each.product_id), wanted);
  });
  $("no-restocks").hidden = restocks.length > 0;
  $("no-lost-sales").hidden = lost_sales.length > 0;
}

const createLatest = () => {
  const made = row(4, 1);
  made.cells[1].append(make("span"), make("small"));
  return made;
};

function fill(node, texts, item, small) {
  texts.forEach((text, at) => text != null && setText(node.cells[at], text));
  setText(node.cells[1].firstElementChild, item);
  setText(node.cells[1].lastElementChild, small);
}

export function workers({ workers: all, partitions: in_all }) {
  arrange($("workers"), all, (each) => each.url, createWorker, (node, each) => {
    const link = node.cells[0].firstElementChild;
    node.dataset.url = each.url;
    node.dataset.partitions = each.partitions.join(" ");
    setText(link, each.url.replace(/^https?:\/\//, "").replace(/\/$/, ""));
    setAttribute(link, "href", each.url);
    setAttribute(link, "aria-current", each.asked ? "page" : null);
    const words = each.ready ? ["ready"] : each.reasons.length ? each.reasons : ["not ready"];
    setText(node.cells[0].lastElementChild, [each.asked ? "this page" : "", ...words].filter(Boolean).join(" · "));
    node.classList.toggle("unwell", !each.ready);
    const texts = [ranges(each.partitions), decimal(each.rate), count(each.lag), each.behind == null ? "–" : `${each.behind.toFixed(1)} s`];
    texts.forEach((text, at) => setText(node.cells[1 + at], text));
  });
  const ready = all.filter((each) => each.ready).length;
  setText($("workers-note"), `${ready} of ${all.length} ready · ${count(in_all)} partitions`);
}

const createWorker = () => {
  const made = row(5);
  made.cells[0].append(make("a"), make("small"));
  return made;
};
