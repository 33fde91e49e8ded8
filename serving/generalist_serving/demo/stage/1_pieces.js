// What the other files use: nodes, pixels, colours.

const SVG = "http://www.w3.org/2000/svg";
const DASHES = ["none", "9 5", "2 4", "11 4 2 4"];

// Text of a model or a file comes in through `text` and attributes only: as characters, never as markup.
function make(tag, { text, ...attributes } = {}, children = []) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text !== undefined) node.textContent = text;
  node.append(...children);
  return node;
}

function makeShape(tag, attributes) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

function colourOf(index) {
  return props.palette[index % props.palette.length][0];
}

function inkOf(index) {
  return props.palette[index % props.palette.length][1];
}

function dashOf(index) {
  return DASHES[index % DASHES.length];
}

// A line that shows on any picture: its colour on a wider dark one.
function outlined(tag, attributes, colour, dash) {
  const same = { ...attributes, fill: "none", "vector-effect": "non-scaling-stroke", "stroke-linejoin": "round" };
  const group = makeShape("g", {});
  group.append(
    makeShape(tag, { ...same, class: "under" }),
    makeShape(tag, { ...same, class: "line", stroke: colour, "stroke-dasharray": dash }),
  );
  return group;
}

function percent(value, whole) {
  return `${(100 * value) / whole}%`;
}

function put(node, x, y, image) {
  node.style.left = percent(x, image.width);
  node.style.top = percent(y, image.height);
}

// Whole pixels of the submitted picture, whatever the size that it is shown at.
function pixelsAt(event, node, image) {
  const rect = node.getBoundingClientRect();
  const along = (value, start, length, side) =>
    Math.round(Math.min(Math.max((value - start) / (length || 1), 0), 1) * side);
  return [
    along(event.clientX, rect.left, rect.width, image.width),
    along(event.clientY, rect.top, rect.height, image.height),
  ];
}

function short(value) {
  return String(Math.round(value * 10) / 10);
}
