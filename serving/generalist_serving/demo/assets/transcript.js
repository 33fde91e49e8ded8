// The conversation: questions, answers with coloured phrases, and what can be done with them.
// Everything that a model, a file or a visitor wrote goes through textContent.
const log = element.querySelector(".log");
const list = element.querySelector("ol");
const drawn = new Map(); // turn id -> JSON of what its element shows
const HIGHLIGHT = "generalist:highlight";
let value = { turns: [], shown: null, download: "", editing: false, at: 0 };

function make(tag, options = {}, ...children) {
  const { text, attributes = {}, ...properties } = options;
  const node = Object.assign(document.createElement(tag), properties);
  if (text !== undefined) node.textContent = text;
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children.filter((child) => child));
  return node;
}

function button(text, name, act) {
  const node = make("button", { type: "button", className: "tool", text });
  node.dataset.tool = name;
  node.addEventListener("click", act);
  return node;
}

// --- parts of a turn ---------------------------------------------------------------------------------

function phrase(segment, turn) {
  const [colour, ink] = props.palette[segment.units[0] % props.palette.length];
  const numbers = segment.units.map((index) => index + 1);
  const shown = numbers.length > 3 ? `${numbers[0]}–${numbers[numbers.length - 1]}` : numbers.join(",");
  const badge = make("span", { className: "badge", text: shown });
  badge.style.background = colour;
  badge.style.color = ink;
  const node = make("button", { type: "button", className: "phrase", text: segment.text }, badge);
  node.style.setProperty("--unit", colour);
  node.dataset.units = segment.units.join(" ");
  const tell = (unit) => {
    if (value.shown !== turn.id) return;
    document.dispatchEvent(new CustomEvent(HIGHLIGHT, { detail: { unit, stage: props.stage } }));
  };
  for (const event of ["mouseenter", "focus"]) node.addEventListener(event, () => tell(segment.units[0]));
  for (const event of ["mouseleave", "blur"]) node.addEventListener(event, () => tell(null));
  node.addEventListener("click", () => trigger("shown", { turn: turn.id, unit: segment.units[0] }));
  return node;
}

function question(turn) {
  const pictures = turn.pictures.map((picture) =>
    make("img", { src: picture.url, alt: `Picture ${picture.name}`, loading: "lazy" }),
  );
  const notes = [turn.task, turn.model, ...turn.drawn].filter((note) => note);
  return make(
    "div",
    { className: "question" },
    pictures.length ? make("div", { className: "sent" }, ...pictures) : null,
    make("p", { text: turn.question }),
    notes.length ? make("p", { className: "notes", text: notes.join(" · ") }) : null,
  );
}

const STATES = { waiting: "Waiting for the server …", stopped: "Stopped.", failed: "", writing: "", done: "" };

function answer(turn) {
  const words = turn.segments.map((segment) =>
    segment.units.length ? phrase(segment, turn) : document.createTextNode(segment.text),
  );
  const state = turn.error || STATES[turn.state] || (turn.state === "done" && !turn.segments.length ? "No words." : "");
  return make(
    "div",
    { className: `answer ${turn.state}` },
    make("p", { className: "words" }, ...words, turn.state === "writing" ? make("span", { className: "caret" }) : null),
    state ? make("p", { className: turn.error ? "state wrong" : "state", text: state }) : null,
  );
}

function tools(turn) {
  const over = turn.state !== "waiting" && turn.state !== "writing";
  const links = turn.downloads.map((file) =>
    make("a", {
      className: "tool",
      href: file.url,
      text: `↓ ${file.label}`,
      attributes: { download: "", "aria-label": `Download ${file.label}` },
    }),
  );
  return make(
    "div",
    { className: "tools" },
    turn.drawings ? button("Show", "show", () => trigger("shown", { turn: turn.id })) : null,
    over && turn.last ? button("Retry", "retry", () => trigger("retried", { turn: turn.id })) : null,
    over && turn.last ? button("Edit", "edit", () => trigger("edited", { turn: turn.id })) : null,
    ...(over ? links : []),
  );
}

// --- details ---------------------------------------------------------------------------------------

function token([text, logprob]) {
  const node = make("span", { className: "token", text: text.replace(/\n/g, "⏎") });
  node.title = `probability ${Math.exp(logprob).toFixed(3)}`;
  node.style.setProperty("--sure", Math.exp(logprob).toFixed(3));
  return node;
}

function details(turn) {
  const info = turn.details;
  if (!info) return null;
  const list = make("dl");
  const add = (name, ...content) => list.append(make("dt", { text: name }), make("dd", {}, ...content));
  if (info.plan.length) {
    add("Plan", make("ul", {}, ...info.plan.map((line) => make("li", { text: line }))));
  }
  add("Usage", make("span", { text: info.usage }));
  if (info.issues.length) {
    add("Where the reply left the grammar", make("ul", {}, ...info.issues.map((line) => make("li", { text: line }))));
  }
  if (info.tokens.length) {
    add("Tokens, the paler the less sure", make("div", { className: "tokens" }, ...info.tokens.map(token)));
  }
  return make("details", {}, make("summary", { text: "Details" }), list);
}

// --- putting it together -----------------------------------------------------------------------------

function item(turn) {
  return make("li", {}, question(turn), answer(turn), tools(turn), details(turn));
}

function replace(old, fresh) {
  const open = old.querySelector("details")?.open;
  const held = old.contains(document.activeElement) ? document.activeElement : null;
  const key = held && (held.dataset.units ? `[data-units="${held.dataset.units}"]` : `[data-tool="${held.dataset.tool}"]`);
  old.replaceWith(fresh);
  const unfolded = fresh.querySelector("details");
  if (unfolded && open) unfolded.open = true;
  if (key) fresh.querySelector(key)?.focus();
}

function draw() {
  if (props.value && props.value.at < value.at) return; // overtaken by something newer
  value = props.value || value;
  const { turns, shown } = value;
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 80;
  const names = new Set(turns.map((turn) => turn.id));
  for (const node of [...list.children]) {
    if (!names.has(node.dataset.turn)) {
      drawn.delete(node.dataset.turn);
      node.remove();
    }
  }
  turns.forEach((turn, place) => {
    const text = JSON.stringify(turn);
    if (drawn.get(turn.id) === text) return;
    drawn.set(turn.id, text);
    const fresh = item(turn);
    fresh.dataset.turn = turn.id;
    const old = list.children[place];
    if (old?.dataset.turn === turn.id) replace(old, fresh);
    else list.insertBefore(fresh, old ?? null);
  });
  for (const node of list.children) node.classList.toggle("shown", node.dataset.turn === shown);
  const whole = element.querySelector(".whole");
  whole.hidden = !value.download;
  if (value.download) whole.href = value.download;
  element.querySelector(".empty").hidden = turns.length > 0;
  element.querySelector(".editing").hidden = !value.editing;
  if (atEnd) log.scrollTop = log.scrollHeight;
}

document.addEventListener(HIGHLIGHT, (event) => {
  const { unit = null, stage = props.stage } = event.detail ?? {};
  if (stage !== props.stage) return;
  for (const node of list.querySelectorAll(".phrase")) {
    const inShown = node.closest("li").dataset.turn === value.shown;
    const meant = unit !== null && node.dataset.units.split(" ").includes(String(unit));
    node.classList.toggle("lit", inShown && meant);
  }
});

element.querySelector(".keep").addEventListener("click", () => trigger("kept"));
watch("value", draw);
draw();
