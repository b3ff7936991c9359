/* The list of incidents, with a button that ends those that were added while the shop runs, and the form that adds one.

Errors are shown next to the field that they concern. */

import { $, arrange, make, setAttribute, setText } from "./dom.js";
import { parsed } from "./format.js";

/* Kinds, their default factors, and a description. A test compares them with the settings. */
const KINDS = {
  promotion: [2.5, "more customers; a discount, if set"],
  storm: [0.3, "few customers"],
  power_outage: [0, "no customer can buy"],
  viral: [4, "many more customers"],
  road_works: [0.7, "fewer customers"],
  supply: [0, "slower deliveries; with 0, none"],
  custom: [null, "demand multiplied by the factor"],
};
const DISCOUNTED = ["promotion", "custom"];
const MAX_PAST = 30; // past incidents in the list
const JSON_ONLY = { "Content-Type": "application/json" };
const NO_ANSWER = "This worker does not answer. The list shows whether the change was applied.";

const form = $("incident");
const fields = form.elements;
const ends = new Map(); // incidents that were ended here: the message for each, by name
let time = null; // formats times in the shop's time zone
let taken = new Set(); // names of all incidents

export function incidents(snapshot, formats) {
  time = formats;
  const now = parsed(snapshot.now);
  taken = new Set(snapshot.incidents.map((each) => each.name));
  const current = snapshot.incidents.filter((each) => each.state === "on" || each.state === "ahead");
  const past = snapshot.incidents.filter((each) => !current.includes(each)).reverse();
  arrange($("incidents"), [...current, ...past.slice(0, MAX_PAST)], (each) => each.name, create, (node, each) => {
    node.dataset.name = each.name;
    node.dataset.state = each.state;
    const [name, state, details, outcome] = ["b", ".state", ".details", ".outcome"].map((part) => node.querySelector(part));
    setText(name, each.name);
    setText(state, each.state);
    setText(details, described(each, now));
    const over = !current.includes(each);
    setText(outcome, over ? "" : ends.get(each.name) ?? "");
    button(node.querySelector("button"), each, over);
  });
  $("no-incidents").hidden = current.length > 0;
  suggest();
  categories(snapshot.products.map((each) => each.category));
}

function create(incident) {
  const end = make("button", { type: "button", class: "quiet" }, "End");
  end.addEventListener("click", () => stop(incident.name, end));
  const head = make("div", {}, make("b"), " ", make("span", { class: "state" }));
  return make("li", {}, make("div", {}, head, make("p", { class: "details" }), make("p", { class: "outcome" })), end);
}

function button(end, incident, over) {
  const hide = over || incident.source !== "live";
  if (hide && document.activeElement === end) $("incidents-title").focus({ preventScroll: true });
  end.hidden = hide;
  setAttribute(end, "aria-label", `End ${incident.name}`);
  // A disabled button would lose the keyboard focus.
  setAttribute(end, "aria-disabled", ends.has(incident.name) ? "true" : null);
}

function described({ kind, start, end, factor, discount, categories: some, products }, now) {
  const scope = [...some, ...products].join(", ") || "all products";
  const effect = kind === "supply" ? `deliveries × ${factor}` : `demand × ${factor}`;
  const less = discount ? `, ${Math.round(discount * 10_000) / 100} % off` : "";
  return `${kind.replace("_", " ")}, ${time.near(parsed(start), now)} to ${time.near(parsed(end), parsed(start))}, ${effect}${less}, ${scope}`;
}

async function stop(name, end) {
  if (end.getAttribute("aria-disabled")) return;
  ends.set(name, "ending …");
  end.setAttribute("aria-disabled", "true");
  const outcome = end.parentElement.querySelector(".outcome");
  setText(outcome, ends.get(name));
  const { status, body } = await ask(`/incidents/${encodeURIComponent(name)}/`, { method: "DELETE" });
  const done = status === 200;
  const text = done ? `ends at ${time.minute(parsed(body.end))}` : body.error;
  ends.set(name, text);
  setText(outcome, text);
  announce(`${name}: ${text}`, done);
  if (status !== 200 && status !== 409) {
    ends.delete(name);
    end.removeAttribute("aria-disabled");
  }
}

async function ask(path, options) {
  try {
    const answer = await fetch(path, { ...options, headers: JSON_ONLY });
    return { status: answer.status, body: await answer.json() };
  } catch {
    return { status: 0, body: { error: NO_ANSWER } };
  }
}

function announce(text, good) {
  setText($("incident-status"), text);
  $("incident-status").classList.toggle("bad", !good);
}

/* --- The form --- */

fields.kind.append(...Object.keys(KINDS).map((kind) => make("option", { value: kind }, kind.replace("_", " "))));
fields.kind.addEventListener("change", ofKind);
fields.name.addEventListener("input", () => (fields.name.dataset.own = fields.name.value ? "yes" : ""));
form.addEventListener("input", (event) => problem(event.target.name, ""));
form.addEventListener("submit", start);
ofKind();

function ofKind() {
  const [factor, note] = KINDS[fields.kind.value];
  setText($("kind-note"), note);
  setText($("factor-label"), fields.kind.value === "supply" ? "Deliveries ×" : "Demand ×");
  setAttribute(fields.factor, "placeholder", factor ?? "required");
  $("discount-field").hidden = !DISCOUNTED.includes(fields.kind.value);
  suggest();
}

/** Suggest a free name, until the user types one. */
function suggest() {
  if (fields.name.dataset.own || document.activeElement === fields.name) return;
  const kind = fields.kind.value.replace("_", "-");
  let number = 1;
  while (taken.has(`${kind}-${number}`)) number += 1;
  if (fields.name.value !== `${kind}-${number}`) fields.name.value = `${kind}-${number}`;
}

const known = new Set(); // categories

function categories(names) {
  for (const name of names) known.add(name);
  arrange($("categories"), [...known].sort(), (name) => name, (name) => make("label", {}, make("input", { type: "checkbox", name: "categories", value: name }), make("span", {}, name)), () => {});
}

function filled() {
  const incident = { name: fields.name.value.trim(), kind: fields.kind.value, duration: fields.duration.value.trim() };
  const optional = ["products", "factor", ...($("discount-field").hidden ? [] : ["discount"])];
  for (const key of optional) if (fields[key].value.trim()) incident[key] = fields[key].value.trim();
  const ticked = [...form.querySelectorAll("[name=categories]:checked")].map((box) => box.value);
  if (ticked.length) incident.categories = ticked;
  return incident;
}

const FIELDS = ["kind", "name", "duration", "factor", "discount", "categories", "products"];
let sending = false;

async function start(event) {
  event.preventDefault();
  if (sending) return;
  sending = true;
  for (const field of FIELDS) problem(field, "");
  announce("starting …", true);
  const { status, body } = await ask("/incidents/", { method: "POST", body: JSON.stringify(filled()) });
  sending = false;
  if (status === 201) {
    announce(`${body.name} begins at ${time ? time.minute(parsed(body.start)) : body.start} by the shop’s clock.`, true);
    taken.add(body.name);
    fields.name.dataset.own = "";
    suggest();
  } else refused(body);
}

/** Show each problem next to its field, and everything else next to the button. */
function refused({ error, problems }) {
  const others = [];
  let first = null;
  for (const text of problems ?? [error]) {
    const [, field, words] = /^(\w+)(?: = [^]*?)?: ([^]+)$/.exec(text) ?? [];
    if (!FIELDS.includes(field) || (field === "discount" && $("discount-field").hidden)) others.push(text);
    else {
      problem(field, words);
      first ??= field;
    }
  }
  announce(others.join(" ") || (problems ? error : "Incident rejected."), false);
  if (first) form.querySelector(`[name=${first}]`)?.focus();
}

function problem(field, words) {
  if (!FIELDS.includes(field)) return;
  const place = $(`${field}-problem`);
  if (words && place.textContent) words = `${place.textContent} ${words}`;
  setText(place, words);
  for (const input of form.querySelectorAll(`[name=${field}]`)) setAttribute(input, "aria-invalid", words ? "true" : null);
}
