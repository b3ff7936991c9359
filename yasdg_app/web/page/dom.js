/* Minimal updates of the document, which keep unchanged nodes, the focus and the scroll position.

Data from the shop is inserted as text, never as markup. */

export const $ = (id) => document.getElementById(id);

/** Create an element; children are elements or strings. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

export function setText(element, text) {
  if (element.textContent !== String(text)) element.textContent = text;
}

export function setAttribute(element, name, value) {
  if (value == null || value === false) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
}

const known = new WeakMap();

/** Give `parent` one child per item, in the items' order; `create` returns a new child, `update` fills one. */
export function arrange(parent, items, keyOf, create, update) {
  const before = known.get(parent) ?? new Map();
  const after = new Map(items.map((item) => [keyOf(item), item]));
  known.set(parent, before);
  for (const [key, node] of before) {
    if (!after.has(key)) {
      node.remove();
      before.delete(key);
    }
  }
  let next = parent.firstElementChild;
  for (const [key, item] of after) {
    let node = before.get(key);
    if (!node) before.set(key, (node = create(item)));
    update(node, item);
    if (node === next) next = next.nextElementSibling;
    else move(parent, node, next);
  }
}

function move(parent, node, before) {
  const focused = node.contains(document.activeElement) ? document.activeElement : null;
  parent.insertBefore(node, before);
  focused?.focus({ preventScroll: true });
}

/** Create a table row; the cell at index `head` is its header. */
export function row(cells, head = 0) {
  const made = Array.from({ length: cells }, (_, at) => (at === head ? make("th", { scope: "row" }) : make("td")));
  return make("tr", {}, ...made);
}
