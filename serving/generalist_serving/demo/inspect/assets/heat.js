// Where the model looked when it chose a token: a heat map over the picture, and the tokens to choose from.
// Everything that a model or a file wrote goes through textContent and setAttribute.
"use strict";
const find = (selector) => element.querySelector(selector);
const canvas = find("canvas");
const list = find(".tokens");
const ramp = [...props.ramp].reverse().map((stop) => [1, 3, 5].map((at) => parseInt(stop.slice(at, at + 2), 16)));
let drawn = "";
let levels = new Uint8Array();
let chosen = 0;
let value = null; // what is shown; something older may come later

function colourOf(level) {
  const place = (level / 255) * (ramp.length - 1);
  const low = Math.min(Math.floor(place), ramp.length - 2);
  return ramp[low].map((value, channel) => Math.round(value + (ramp[low + 1][channel] - value) * (place - low)));
}

// A token of blanks or signs that cannot be seen is named.
function shown(token) {
  if (/[\p{L}\p{N}\p{P}\p{S}]/u.test(token)) return token.replaceAll("\n", "↵");
  const names = { " ": "␣", "\n": "↵" };
  const code = (sign) => `U+${sign.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`;
  return [...token].map((sign) => names[sign] ?? code(sign)).join("") || "∅";
}

// Where the map is highest, in words.
function hottest(map, rows, columns) {
  const best = map.indexOf(255);
  if (best < 0) return "nowhere in particular";
  const across = Math.round((100 * ((best % columns) + 0.5)) / columns);
  const down = Math.round((100 * (Math.floor(best / columns) + 0.5)) / rows);
  return `most at ${across} % from the left and ${down} % from the top`;
}

function choose(number) {
  const { tokens, grid, share } = value;
  const [rows, columns] = grid;
  chosen = Math.min(Math.max(number, 0), tokens.length - 1);
  [...list.children].forEach((node, at) => node.setAttribute("aria-selected", String(at === chosen)));
  const option = list.children[chosen];
  list.setAttribute("aria-activedescendant", option.id);
  const top = option.offsetTop - list.offsetTop;
  if (top < list.scrollTop || top > list.scrollTop + list.clientHeight - 24) list.scrollTop = top - 24;
  const map = levels.subarray(chosen * rows * columns, (chosen + 1) * rows * columns);
  canvas.width = columns;
  canvas.height = rows;
  const pixels = new ImageData(columns, rows);
  map.forEach((level, at) => pixels.data.set([...colourOf(level), 255], 4 * at));
  canvas.getContext("2d").putImageData(pixels, 0, 0);
  const words = `${shown(tokens[chosen])}: the model looked ${hottest(map, rows, columns)}; ${Math.round(100 * share[chosen])} % of the attention of its looking heads was on the picture`;
  canvas.setAttribute("aria-label", `Heat map of ${words}`);
  find(".told").textContent = `Token ${chosen + 1} of ${tokens.length}, ${words}.`;
}

function option(token, number) {
  const node = document.createElement("span");
  node.setAttribute("role", "option");
  node.id = `heat-token-${number}`;
  node.textContent = shown(token);
  node.addEventListener("click", () => choose(number));
  return node;
}

function draw() {
  if (!props.value || props.value.at < value?.at) return;
  value = props.value;
  const { at, ...content } = value;
  const text = JSON.stringify(content);
  if (text === drawn) return;
  drawn = text;
  find(".note").textContent = value.note;
  find(".looked").hidden = !value.tokens.length;
  if (!value.tokens.length) return;
  const image = find("img");
  image.src = value.image.url;
  image.alt = `Picture ${value.image.name}`;
  find(".frame").style.setProperty("--ratio", value.image.width / value.image.height);
  levels = Uint8Array.from(atob(value.maps), (sign) => sign.charCodeAt(0));
  list.replaceChildren(...value.tokens.map(option));
  choose(value.share.indexOf(Math.max(...value.share)));
}

list.addEventListener("keydown", (event) => {
  const last = list.children.length - 1;
  const steps = { ArrowRight: chosen + 1, ArrowDown: chosen + 1, ArrowLeft: chosen - 1, ArrowUp: chosen - 1, Home: 0, End: last };
  if (!(event.key in steps)) return;
  event.preventDefault();
  choose(steps[event.key]);
});
find("input").addEventListener("input", (event) => find(".frame").style.setProperty("--heat", event.target.value / 100));
find(".ramp").style.background = `linear-gradient(to right, ${[...props.ramp].reverse().join(", ")})`;
watch("value", draw);
draw();
