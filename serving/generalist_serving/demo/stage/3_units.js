// The drawings of an answer: on the picture, as a list of buttons and as a table.

const CROWDED = 12;
const NAMED_IN_ALT = 20;

// find: (class) -> node; highlight(index | null) tells the whole page what is looked at.
function createUnits(find, highlight) {
  const records = [];
  const state = { image: null, threshold: 0, lit: null, pinned: null };
  const layers = ["masks", "shapes", "tags", "units"].map(find);
  const body = find("listing").querySelector("tbody");

  const passes = ({ unit }) => unit.score === null || unit.score === undefined || unit.score >= state.threshold;
  const visible = () => records.filter(passes);

  function show(units, image, another) {
    state.image = image;
    const texts = units.map((unit) => JSON.stringify(unit));
    let kept = 0;
    while (!another && kept < records.length && records[kept].text === texts[kept]) kept++;
    for (const record of records.splice(kept)) record.nodes.forEach((node) => node.remove());
    units.slice(kept).forEach((unit, at) => add(unit, texts[kept + at]));
    if (!records.some(({ unit }) => unit.index === state.pinned)) state.pinned = null;
    refresh();
  }

  function add(unit, text) {
    const drawn = pictureNodes(unit, state.image);
    const button = unitButton(unit);
    const row = unitRow(unit);
    drawn.nodes.forEach(([layer, node]) => find(layer).append(node));
    find("units").append(make("li", {}, [button]));
    body.append(row);
    listen(button, unit.index);
    listen(row, unit.index);
    records.push({
      unit,
      text,
      button,
      hits: drawn.hits,
      size: drawn.size,
      marked: [...drawn.nodes.map(([, node]) => node), button, row],
      nodes: [...drawn.nodes.map(([, node]) => node), button.parentNode, row],
    });
  }

  function listen(node, index) {
    node.addEventListener("pointerenter", () => highlight(index));
    node.addEventListener("pointerleave", () => highlight(state.pinned));
    node.addEventListener("focus", () => highlight(index));
    node.addEventListener("blur", () => highlight(state.pinned));
    if (node.localName !== "button") return;
    node.addEventListener("click", () => {
      state.pinned = state.pinned === index ? null : index;
      highlight(index);
    });
  }

  function refresh() {
    const shown = new Set(visible());
    const lit = [...shown].some(({ unit }) => unit.index === state.lit) ? state.lit : null;
    for (const record of records) {
      record.nodes.forEach((node) => node.classList.toggle("off", !shown.has(record)));
      record.marked.forEach((node) => {
        node.classList.toggle("lit", lit === record.unit.index);
        node.classList.toggle("dim", lit !== null && lit !== record.unit.index);
      });
      record.button.setAttribute("aria-pressed", String(state.pinned === record.unit.index));
    }
    find("tags").classList.toggle("crowded", shown.size > CROWDED);
    find("units").hidden = find("listing").hidden = !records.length;
    find("listing").querySelector("summary").textContent = `Table (${shown.size})`;
    find("shown").alt = altText([...shown].map(({ unit }) => unit));
  }

  return {
    show,
    state,
    records,
    visible,
    refresh,
    // The smallest unit under a pixel, as the larger ones can be reached around it.
    at(x, y) {
      const under = visible().filter(({ hits }) => hits(x, y));
      return under.length ? under.reduce((a, b) => (b.size < a.size ? b : a)).unit.index : null;
    },
  };
}

function altText(units) {
  if (!units.length) return "Picture without drawings";
  const named = units.slice(0, NAMED_IN_ALT).map((unit) => `${unit.type} ${unit.label}`.trim());
  if (units.length > named.length) named.push(`${units.length - named.length} more`);
  return `Picture with ${units.length} ${units.length === 1 ? "drawing" : "drawings"}: ${named.join(", ")}`;
}

// --- one unit ------------------------------------------------------------------------------------------

// Its nodes as [layer, node], whether a pixel is on it, and its area.
function pictureNodes(unit, image) {
  const none = { nodes: [], hits: () => false, size: Infinity };
  if (!image) return none;
  const { index } = unit;
  const colour = colourOf(index);
  if (unit.type === "point") {
    const [x, y] = unit.point;
    const dot = make("span", { class: "dot" });
    dot.style.background = colour;
    put(dot, x, y, image);
    const near = Math.max(image.width, image.height) / 50;
    return {
      nodes: [["tags", dot], ["tags", tagOf(unit, [x, x], y, image)]],
      hits: (px, py) => Math.hypot(px - x, py - y) <= near,
      size: 0,
    };
  }
  if (unit.type !== "box" && unit.type !== "mask") return none;
  const [x1, y1, x2, y2] = unit.box;
  const inside = (x, y) => x >= x1 && x <= x2 && y >= y1 && y <= y2;
  const tag = ["tags", tagOf(unit, [x1, x2], y1, image)];
  if (unit.type === "box") {
    const line = outlined("rect", { x: x1, y: y1, width: x2 - x1, height: y2 - y1 }, colour, dashOf(index));
    return { nodes: [["shapes", line], tag], hits: inside, size: (x2 - x1) * (y2 - y1) };
  }
  const mask = readMask(unit.rle);
  const line = outlined("path", { d: maskOutline(mask, image) }, colour, dashOf(index));
  const hits = (x, y) => maskHas(mask, x, y);
  return { nodes: [["masks", maskCanvas(mask, colour)], ["shapes", line], tag], hits, size: unit.area };
}

// On the top edge, which runs over `across`: from its left end, or in the right half up to its right end.
function tagOf(unit, across, y, image) {
  const tag = make("span", { class: `tag ${unit.type}` }, [
    make("b", { text: unit.index + 1 }),
    make("span", { text: [unit.label, scoreOf(unit)].filter(Boolean).join(" ") }),
  ]);
  paintTag(tag, unit.index);
  const leftward = across[0] > image.width / 2;
  put(tag, across[Number(leftward)], y, image);
  tag.classList.toggle("below", y < image.height * 0.06);
  tag.classList.toggle("leftward", leftward);
  return tag;
}

function paintTag(node, index) {
  node.style.background = colourOf(index);
  node.style.color = inkOf(index);
}

function scoreOf(unit) {
  return typeof unit.score === "number" ? unit.score.toFixed(2) : "";
}

function unitButton(unit) {
  const number = make("b", { class: "number", text: unit.index + 1 });
  paintTag(number, unit.index);
  const words = unit.label || unit.title || unit.type;
  return make("button", { type: "button", class: "unit", "aria-pressed": "false", "data-unit": unit.index }, [
    number,
    make("span", { class: "words", text: words }),
    make("span", { class: "kind", text: [unit.type, scoreOf(unit)].filter(Boolean).join(" ") }),
  ]);
}

function unitRow(unit) {
  const cells = [unit.type, unit.label, scoreOf(unit) || "not known", placeOf(unit), areaOf(unit)];
  return make("tr", {}, [
    make("th", { scope: "row", text: unit.index + 1 }),
    ...cells.map((text) => make("td", { text })),
  ]);
}

function placeOf(unit) {
  if (unit.type === "depth") return `${withUnit(unit.min, unit.unit)} to ${withUnit(unit.max, unit.unit)}`;
  return (unit.box || unit.point || []).map(short).join(", ") || unit.title || "";
}

function areaOf(unit) {
  if (unit.type === "mask") return unit.area;
  return unit.type === "box" ? short((unit.box[2] - unit.box[0]) * (unit.box[3] - unit.box[1])) : "";
}
