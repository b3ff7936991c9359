/* The page's heart: hears snapshots, keeps the clock going, says what is missing or old, and has the panels drawn.

A snapshot is drawn when it comes, but not within half a second of the last one. EventSource itself connects again to the
same worker; if that stays away, the page offers the others that it knows of. */

import { Chart } from "./chart.js";
import { $, arrange, make, setText } from "./dom.js";
import { ShopTime, decimal, length, parsed, partitions } from "./format.js";
import { incidents } from "./incidents.js";
import { latest, sellers, shelves, totals, workers } from "./panels.js";

const TICK = 500; // milliseconds between two drawings
const OLD = 3_000; // after so many without a snapshot what is shown is old
const SILENT = 6_000; // after so many the other workers are offered
const AGAIN = 2_000; // until the next try where EventSource gave up, which it does when it is refused

const chart = new Chart();
let snapshot = null; // the last one that was drawn
let pending = null; // one that came since
let time = null; // formats of the shop's clock
let heardAt = performance.now();
let drawnAt = -TICK;
let refused = ""; // why this worker gives no snapshots, in words

function connect() {
  const source = new EventSource("/events/");
  source.addEventListener("snapshot", (event) => {
    pending = JSON.parse(event.data);
    heardAt = performance.now();
    refused = "";
    if (performance.now() - drawnAt >= TICK) draw();
  });
  source.addEventListener("error", () => {
    if (source.readyState !== EventSource.CLOSED) return; // it connects again by itself
    explain();
    setTimeout(connect, AGAIN);
  });
}

/** EventSource does not tell why it was refused; the answer to another request does. */
async function explain() {
  try {
    const { status } = await fetch("/page/icon.svg", { cache: "no-store" });
    const token = status === 401 || status === 403;
    refused = token ? "It asks for a token: open this page as /?token=TOKEN." : "It answers, but sends no numbers.";
  } catch {
    refused = "";
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
  return performance.now() - heardAt;
}

/** The shop's clock goes on between snapshots, at its pace; not when nothing is heard any more. */
function clock() {
  const old = age() > OLD;
  document.body.dataset.state = old ? "old" : snapshot ? "live" : "connecting";
  const seconds = length(age() / 1000);
  setText($("heard"), old ? `${snapshot ? "last heard" : "nothing heard for"} ${seconds}${snapshot ? " ago" : ""}` : snapshot ? "live" : "connecting …");
  if (!snapshot) return;
  const pace = snapshot.pace ?? 0;
  const now = parsed(snapshot.now) + Math.min(age(), OLD) * pace;
  setText($("clock"), `${time.date(now)} ${time.second(now)}`);
  setText($("zone"), snapshot.time_zone);
  setText($("pace"), Math.abs(pace - 1) < 0.005 ? "real time" : `× ${decimal(pace)}`);
  setText($("behind"), snapshot.behind == null ? "unknown" : snapshot.behind < 100 ? `${snapshot.behind.toFixed(1)} s` : length(snapshot.behind));
}

function notices() {
  const said = [];
  if (snapshot && !snapshot.series) said.push({ text: "No whole minute of sales is known yet: the chart and the best sellers come with the first." });
  for (const each of snapshot?.missing ?? []) {
    const of = each.url ? ` of ${each.url}` : "";
    const without = `Totals are without ${each.partitions.length === 1 ? "it" : "them"}, and the chart stands still, until a worker has taken over.`;
    said.push({ text: `Missing: ${partitions(each.partitions)}${of} (${each.why}). ${without}` });
  }
  if (age() > SILENT) {
    const others = (snapshot?.workers ?? []).filter((each) => !each.asked).map((each) => each.url);
    const then = others.length ? " The shop may go on at another worker:" : " No other worker is known.";
    said.push({ text: `This worker (${location.host}) is silent. ${refused || "The page goes on asking it."}${then}`, links: others });
  }
  arrange($("notices"), said, (each) => each.text, (each) => make("p", { class: "notice" }, each.text, ...(each.links ?? []).flatMap((url) => [" ", make("a", { href: url }, url)])), () => {});
}

$("measure").addEventListener("change", drawChart);
$("window").addEventListener("change", drawSellers);
document.addEventListener("visibilitychange", draw);
setInterval(draw, TICK);
connect();
