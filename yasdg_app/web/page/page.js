/* The main module: receives snapshots, advances the clock, shows notices about missing or stale data, and draws all panels.

A snapshot is drawn on arrival, but at most one per DRAW_MS. EventSource reconnects to the same worker by itself; if that
worker stays unreachable, the page links to the other workers that it knows. */

import { Chart } from "./chart.js";
import { $, arrange, make, setText } from "./dom.js";
import { ShopTime, decimal, length, parsed, partitions } from "./format.js";
import { incidents } from "./incidents.js";
import { latest, sellers, shelves, totals, workers } from "./panels.js";

const DRAW_MS = 500; // between two redraws
const STALE_MS = 3_000; // without a snapshot, after which the data is stale
const UNREACHABLE_MS = 6_000; // without a snapshot, after which the page links to other workers
const RETRY_MS = 2_000; // until the next attempt where EventSource gave up, as it does after an error status

const chart = new Chart();
let snapshot = null; // the last one that was drawn
let pending = null; // a newer one, not drawn yet
let time = null; // formats times in the shop's time zone
let receivedAt = performance.now();
let drawnAt = -DRAW_MS;
let rejection = ""; // why this worker sends no snapshots

function connect() {
  const source = new EventSource("/events/");
  source.addEventListener("snapshot", (event) => {
    pending = JSON.parse(event.data);
    receivedAt = performance.now();
    rejection = "";
    if (performance.now() - drawnAt >= DRAW_MS) draw();
  });
  source.addEventListener("error", () => {
    if (source.readyState !== EventSource.CLOSED) return; // it reconnects by itself
    explain();
    setTimeout(connect, RETRY_MS);
  });
}

/** EventSource does not report the status of an error; another request does. */
async function explain() {
  try {
    const { status } = await fetch("/page/icon.svg", { cache: "no-store" });
    const token = status === 401 || status === 403;
    rejection = token ? "It requires a token: open /?token=TOKEN once." : "It responds, but sends no snapshots; retrying.";
  } catch {
    rejection = "";
  }
}

const chosen = (name) => document.querySelector(`input[name=${name}]:checked`).value;

function draw() {
  if (document.hidden) return;
  if (pending) {
    snapshot = pending;
    pending = null;
    drawnAt = performance.now();
    if (time?.zone !== snapshot.time_zone) time = new ShopTime(snapshot.time_zone);
    totals(snapshot, time);
    drawChart();
    drawSellers();
    shelves(snapshot, time, (category) => chart.layerOf(category));
    latest(snapshot, time);
    incidents(snapshot, time);
    workers(snapshot);
    document.body.dataset.through = snapshot.through ?? "";
  }
  clock();
  notices();
}

const drawChart = () => snapshot && chart.draw(snapshot, chosen("measure"), time);
const drawSellers = () => snapshot && sellers(snapshot, chosen("window"), time);

function age() {
  return performance.now() - receivedAt;
}

/** The shop's clock advances between snapshots, at its pace; it stops when the data is stale. */
function clock() {
  const old = age() > STALE_MS;
  document.body.dataset.state = old ? "stale" : snapshot ? "live" : "connecting";
  const seconds = length(age() / 1000);
  setText($("connection"), old ? (snapshot ? `last update ${seconds} ago` : `no data for ${seconds}`) : snapshot ? "live" : "connecting …");
  if (!snapshot) return;
  const pace = snapshot.pace ?? 0;
  const now = parsed(snapshot.now) + Math.min(age(), STALE_MS) * pace;
  setText($("clock"), `${time.date(now)} ${time.second(now)}`);
  setText($("zone"), snapshot.time_zone);
  setText($("pace"), Math.abs(pace - 1) < 0.005 ? "real time" : `× ${decimal(pace)}`);
  setText($("delay"), snapshot.behind == null ? "unknown" : snapshot.behind < 100 ? `${snapshot.behind.toFixed(1)} s` : length(snapshot.behind));
}

function notices() {
  const found = [];
  if (snapshot && !snapshot.series) found.push({ text: "No complete minute of sales yet. The chart and the best sellers appear with the first one." });
  for (const each of snapshot?.missing ?? []) {
    const of = each.url ? ` of ${each.url}` : "";
    const without = `Totals exclude ${each.partitions.length === 1 ? "it" : "them"} and the chart is paused until another worker takes over.`;
    found.push({ text: `Missing: ${partitions(each.partitions)}${of} (${each.why}). ${without}` });
  }
  if (age() > UNREACHABLE_MS) {
    const others = (snapshot?.workers ?? []).filter((each) => !each.asked).map((each) => each.url);
    const then = others.length ? " Other workers:" : " No other worker is known.";
    found.push({ text: `No data from this worker (${location.host}). ${rejection || "It is unreachable; retrying."}${then}`, links: others });
  }
  arrange($("notices"), found, (each) => each.text, (each) => make("p", { class: "notice" }, each.text, ...(each.links ?? []).flatMap((url) => [" ", make("a", { href: url }, url)])), () => {});
}

$("measure").addEventListener("change", drawChart);
$("window").addEventListener("change", drawSellers);
document.addEventListener("visibilitychange", draw);
setInterval(draw, DRAW_MS);
connect();
