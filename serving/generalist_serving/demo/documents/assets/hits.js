// What was found. Everything that a document says goes through textContent.
"use strict";
const find = (selector) => element.querySelector(selector);
let value = null; // what is shown; something older may come later

function make(tag, attributes = {}, text, ...children) {
  const node = document.createElement(tag);
  for (const [name, content] of Object.entries(attributes)) node.setAttribute(name, content);
  if (text !== undefined) node.textContent = text;
  node.append(...children.filter((child) => child));
  return node;
}

const words = (pieces) => pieces.map(({ text, mark }) => (mark ? make("mark", {}, text) : document.createTextNode(text)));

function score(hit) {
  const bar = make("i", { "aria-hidden": "true" });
  bar.style.setProperty("--share", `${100 * hit.share}%`);
  return make("span", { class: "score" }, undefined, make("span", {}, `score ${hit.score}`), bar);
}

function item(hit, place) {
  const head = make(
    "div",
    { class: "head" },
    undefined,
    make("span", { class: "rank" }, `${place + 1}.`),
    make("h3", {}, undefined, ...words(hit.title)),
    score(hit),
  );
  const whole = hit.whole.length
    ? make("details", {}, undefined, make("summary", {}, "Whole text"), make("p", { class: "text" }, undefined, ...words(hit.whole)))
    : null;
  const named = hit.title_evidence.map((one) => `“${one}”`).join(", ");
  return make(
    "li",
    {},
    undefined,
    head,
    hit.excerpt.length ? make("p", { class: "text" }, undefined, ...words(hit.excerpt)) : null,
    named ? make("p", { class: "speaks" }, `Its title speaks for it: ${named}`) : null,
    whole,
    hit.id ? make("p", { class: "id" }, hit.id) : null,
  );
}

function draw() {
  if (!props.value || props.value.at < value?.at) return;
  value = props.value;
  find(".status").textContent = value.status;
  find(".empty").hidden = value.asked;
  const ways = value.pictures ? "words, with a picture, or with a region that you draw on one" : "words";
  find(".empty").textContent = `Ask with ${ways}. In what is found, the words that speak for it are marked.`;
  find("ol").replaceChildren(...value.hits.map(item));
  element.toggleAttribute("data-words-only", !value.pictures); // then the page hides where pictures go
}

watch("value", draw);
draw();
