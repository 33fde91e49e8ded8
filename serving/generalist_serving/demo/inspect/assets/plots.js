// Statistics of a run: a scatter that can be walked by keyboard, classes with bars, confusions, a table of things.
// Everything that a file or a model wrote goes through textContent and setAttribute.
"use strict";
const SVG = "http://www.w3.org/2000/svg";
const PLOT = { left: 52, right: 628, top: 12, bottom: 332 };
const MOST_ROWS = 500;
const RADIUS = 5.5;
const SMALLEST = 1e-5;
const SIGNS = [
  (r) => `M${r} 0A${r} ${r} 0 1 1 ${-r} 0A${r} ${r} 0 1 1 ${r} 0Z`,
  (r) => `M${-r} ${-r}H${r}V${r}H${-r}Z`,
  (r) => `M0 ${-1.2 * r}L${1.15 * r} ${0.85 * r}H${-1.15 * r}Z`,
  (r) => `M0 ${-1.3 * r}L${1.3 * r} 0L0 ${1.3 * r}L${-1.3 * r} 0Z`,
  (r) => `M0 ${1.2 * r}L${1.15 * r} ${-0.85 * r}H${-1.15 * r}Z`,
  (r) => `M${-r / 2.4} ${-r * 1.2}H${r / 2.4}V${-r / 2.4}H${r * 1.2}V${r / 2.4}H${r / 2.4}V${r * 1.2}H${-r / 2.4}V${r / 2.4}H${-r * 1.2}V${-r / 2.4}H${-r / 2.4}Z`,
  (r) => `M${1.2 * r} 0L${0.6 * r} ${1.05 * r}H${-0.6 * r}L${-1.2 * r} 0L${-0.6 * r} ${-1.05 * r}H${0.6 * r}Z`,
];

const find = (selector) => element.querySelector(selector);
const svg = find("svg");
const hidden = new Set(); // names of classes that are not plotted
let drawn = "";
let at = null; // "picture/thing" of the point that Tab leads to
let value = null; // what is shown; something older may come later

function fill(node, attributes, text, children) {
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text !== undefined) node.textContent = text;
  node.append(...children);
  return node;
}
const make = (tag, attributes = {}, text, ...children) =>
  fill(document.createElement(tag), attributes, text, children);
const shape = (tag, attributes = {}, text, ...children) =>
  fill(document.createElementNS(SVG, tag), attributes, text, children);

const percent = (share) => `${(100 * share).toPrecision(2).replace(/\.0$/, "")} %`;
const keyOf = ({ picture, thing }) => `${picture}/${thing}`;
const sign = (number) =>
  shape("path", { class: "sign", d: SIGNS[number % SIGNS.length](RADIUS), fill: props.palette[number % props.palette.length][0] });

// --- scatter -----------------------------------------------------------------------------------------

function scales(things) {
  const low = Math.min(0.01, ...things.map(({ share }) => Math.max(share, SMALLEST)));
  const first = Math.floor(Math.log10(low));
  const across = (share) => {
    const part = (Math.log10(Math.max(share, SMALLEST)) - first) / (0 - first);
    return PLOT.left + part * (PLOT.right - PLOT.left);
  };
  const up = (overlap) => PLOT.bottom - overlap * (PLOT.bottom - PLOT.top);
  return { across, up, first };
}

function axes({ across, up, first }) {
  const nodes = [];
  for (let power = first; power <= 0; power++) {
    const x = across(10 ** power);
    nodes.push(shape("line", { class: "grid", x1: x, x2: x, y1: PLOT.top, y2: PLOT.bottom }));
    nodes.push(shape("text", { x, y: PLOT.bottom + 18, "text-anchor": "middle" }, `${100 * 10 ** power} %`.replace(/(\.\d*?[1-9])0+\d* %/, "$1 %")));
  }
  for (const overlap of [0, 0.25, 0.5, 0.75, 1]) {
    const y = up(overlap);
    nodes.push(shape("line", { class: overlap === 0.5 ? "half" : "grid", x1: PLOT.left, x2: PLOT.right, y1: y, y2: y }));
    nodes.push(shape("text", { x: PLOT.left - 8, y: y + 4, "text-anchor": "end" }, overlap.toFixed(2)));
  }
  const middle = (PLOT.top + PLOT.bottom) / 2;
  nodes.push(shape("text", { x: (PLOT.left + PLOT.right) / 2, y: PLOT.bottom + 40, "text-anchor": "middle" }, "Share of the picture (logarithmic)"));
  nodes.push(shape("text", { transform: `translate(12 ${middle}) rotate(-90)`, "text-anchor": "middle" }, "Overlap (IoU)"));
  return shape("g", { "aria-hidden": "true" }, undefined, ...nodes);
}

function words(thing) {
  const found = thing.as === "" ? "not found" : `overlap ${thing.overlap.toFixed(2)} with ${thing.as}`;
  return `${value.classes[thing.class].name}, ${percent(thing.share)} of ${thing.where}, ${found}`;
}

const near = (a, b) => Math.hypot(a.dataset.x - b.dataset.x, a.dataset.y - b.dataset.y) < RADIUS;

function point(thing, place) {
  const [x, y] = [place.across(thing.share), place.up(thing.overlap)];
  const node = shape(
    "g",
    { class: "point", role: "button", tabindex: "-1", "aria-label": words(thing), "data-key": keyOf(thing), "data-x": x, "data-y": y, transform: `translate(${x} ${y})` },
    undefined,
    shape("circle", { class: "hit", r: 12 }),
    shape("circle", { class: "ring", r: 10 }),
    sign(thing.class),
  );
  const read = () => {
    const others = points().filter((other) => other !== node && near(other, node)).length;
    const more = others ? ` (and ${others} more in this place: click again for the next)` : "";
    find(".reading").textContent = words(thing) + more;
  };
  node.addEventListener("pointerenter", read);
  node.addEventListener("focus", () => {
    read();
    lead(keyOf(thing));
  });
  // Points may lie on each other: clicking again goes through them. With the keyboard each is reached by itself.
  node.addEventListener("click", () => {
    const pile = points().filter((other) => near(other, node));
    const pressed = pile.findIndex((other) => other.getAttribute("aria-pressed") === "true");
    (pressed < 0 ? node : pile[(pressed + 1) % pile.length]).show();
  });
  node.show = () => {
    lead(keyOf(thing));
    mark(thing);
    read();
    trigger("picked", { picture: thing.picture, thing: thing.thing });
  };
  return node;
}

const points = () => [...svg.querySelectorAll(".point")];

function lead(key) {
  at = key;
  for (const node of points()) node.setAttribute("tabindex", node.dataset.key === key ? "0" : "-1");
}

function scatter() {
  const things = value.things.filter((thing) => !hidden.has(value.classes[thing.class].name));
  const focused = svg.contains(document.activeElement) ? document.activeElement.dataset.key : null;
  const place = scales(value.things);
  // In the order of size, which is that of the arrow keys.
  const inOrder = [...things].sort((a, b) => a.share - b.share || a.overlap - b.overlap);
  svg.replaceChildren(axes(place), ...inOrder.map((thing) => point(thing, place)));
  const keys = inOrder.map(keyOf);
  lead(keys.includes(at) ? at : (keys[0] ?? null));
  const again = focused && points().find((node) => node.dataset.key === focused);
  if (again) again.focus();
}

svg.addEventListener("keydown", (event) => {
  const nodes = points();
  const here = nodes.indexOf(document.activeElement);
  if (here < 0) return;
  const steps = { ArrowRight: here + 1, ArrowUp: here + 1, ArrowLeft: here - 1, ArrowDown: here - 1, Home: 0, End: nodes.length - 1 };
  if (event.key === "Enter" || event.key === " ") {
    event.preventDefault();
    nodes[here].show();
  } else if (event.key in steps) {
    event.preventDefault();
    nodes[Math.min(Math.max(steps[event.key], 0), nodes.length - 1)].focus();
  }
});

// --- tables ------------------------------------------------------------------------------------------

function bar(count, most, kind) {
  const strip = make("i");
  strip.hidden = count === 0;
  strip.style.width = `${(60 * count) / Math.max(most, 1)}px`;
  return make("td", {}, undefined, make("div", { class: `bar ${kind}` }, undefined, strip, make("span", {}, String(count))));
}

function classes() {
  const most = Math.max(1, ...value.classes.map((one) => Math.max(one.true, one.found)));
  const rows = value.classes.map((one, number) => {
    const box = make("input", { type: "checkbox", "aria-label": `Plot ${one.name}` });
    box.checked = !hidden.has(one.name);
    box.addEventListener("change", () => {
      if (box.checked) hidden.delete(one.name);
      else hidden.add(one.name);
      scatter();
      mark(value.picked);
    });
    const key = shape("svg", { class: "key", viewBox: "-9 -9 18 18", "aria-hidden": "true" }, undefined, sign(number));
    return make(
      "tr",
      {},
      undefined,
      make("td", {}, undefined, box),
      make("th", { scope: "row" }, undefined, key, make("span", {}, one.name)),
      bar(one.true, most, "labelled"),
      bar(one.found, most, "said"),
      make("td", {}, one.overlap === null ? "–" : one.overlap.toFixed(2)),
    );
  });
  find(".classes tbody").replaceChildren(...rows);
}

function confusion(table) {
  const heads = ["Labelled", ...table.columns].map((text) => make("th", { scope: "col" }, text));
  find(".confusion thead tr").replaceChildren(...heads);
  const last = table.rows.length - 1;
  const rows = table.counts.map((counts, row) => {
    const whole = Math.max(1, counts.reduce((a, b) => a + b, 0));
    const cells = counts.map((count, column) => {
      const cell = make("td", row === column && row < last ? { class: "right" } : {}, row === last && column === last ? "" : String(count));
      cell.style.setProperty("--much", `${(40 * count) / whole}%`);
      return cell;
    });
    return make("tr", {}, undefined, make("th", { scope: "row" }, table.rows[row]), ...cells);
  });
  find(".confusion tbody").replaceChildren(...rows);
}

function things() {
  if (!find(".things").open || !value) return;
  const all = [...value.things].sort((a, b) => a.overlap - b.overlap);
  find(".things caption").textContent =
    all.length > MOST_ROWS ? `The ${MOST_ROWS} of ${all.length} that were found worst, worst first` : "The worst first";
  const rows = all.slice(0, MOST_ROWS).map((thing) => {
    const button = make("button", { type: "button", "aria-label": `Show ${words(thing)}` }, "Show");
    button.addEventListener("click", () => trigger("picked", { picture: thing.picture, thing: thing.thing }));
    const cells = [percent(thing.share), thing.overlap.toFixed(2), thing.as || "–", thing.where];
    return make(
      "tr",
      {},
      undefined,
      make("th", { scope: "row" }, value.classes[thing.class].name),
      ...cells.map((text) => make("td", {}, text)),
      make("td", {}, undefined, button),
    );
  });
  find(".things tbody").replaceChildren(...rows);
}

// --- all of it ---------------------------------------------------------------------------------------

function mark(picked) {
  const key = picked ? keyOf(picked) : null;
  for (const node of points()) node.setAttribute("aria-pressed", String(node.dataset.key === key));
}

function draw() {
  if (!props.value || props.value.at < value?.at) return;
  value = props.value;
  const running = value.state === "running";
  find(".status").textContent = value.status;
  const progress = find("progress");
  progress.hidden = !running;
  progress.max = value.limit;
  progress.value = value.done;
  find(".empty").hidden = value.state !== "empty";
  find(".found").hidden = !value.classes.length;
  find(".about").textContent = value.about;
  const text = JSON.stringify([value.classes, value.things, value.confusion]);
  if (text !== drawn) {
    drawn = text;
    scatter();
    classes();
    if (value.confusion) confusion(value.confusion);
    things();
  }
  mark(value.picked);
}

find(".things").addEventListener("toggle", things);
watch("value", draw);
draw();
