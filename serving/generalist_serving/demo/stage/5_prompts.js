// What the user draws: a list of actions, so that the last one can be undone, and the API's `visual_prompts` of it.

const PAINTS = { scribble: "#ff2d95", mask: "#00c2ff" };

// changed(): what is drawn is another; say(text): tell the user.
function createPrompts(find, changed, say) {
  const state = { image: null, actions: [], prompts: [], canvases: {}, pending: null, pointer: null };

  // Fits `prompts` of a value; the pictures of painted ones come in later.
  function load(prompts, image) {
    Object.assign(state, { image, pending: null, pointer: null, canvases: {} });
    find("painted").replaceChildren();
    state.prompts = prompts;
    state.actions = prompts.map(({ type, point, box, png, label }) => {
      if (!png) return { kind: type, place: point || box, label: label === 0 ? 0 : 1 };
      const picture = new Image();
      picture.onload = () => repaint(type);
      picture.src = png;
      return { kind: "bitmap", layer: type, picture, png };
    });
    draw();
  }

  function act(action) {
    state.actions.push(action);
    if (action.layer) repaint(action.layer); // as undoing it would leave it, to the last pixel
    commit();
  }

  function undo() {
    state.pending = null;
    const gone = state.actions.pop();
    if (gone && gone.layer) repaint(gone.layer);
    commit();
  }

  function clear() {
    state.actions = [];
    Object.keys(state.canvases).forEach(repaint);
    state.pending = null;
    commit();
  }

  function commit() {
    const layers = new Set();
    state.prompts = [];
    for (const { kind, layer, place, label } of state.actions) {
      if (kind === "point") state.prompts.push({ type: "point", point: place, label });
      else if (kind === "box") state.prompts.push({ type: "box", box: place });
      else if (!layers.has(layer)) {
        layers.add(layer);
        const png = painted(layer);
        if (png) state.prompts.push({ type: layer, png });
      }
    }
    draw();
    changed();
  }

  // --- painting: a canvas as large as the picture, as the API wants it ---------------------------------

  function canvasOf(layer) {
    if (!state.canvases[layer]) {
      const { width, height } = state.image;
      state.canvases[layer] = find("painted").appendChild(make("canvas", { width, height, "data-layer": layer }));
    }
    return state.canvases[layer];
  }

  // A PNG as a data URL; null where nothing is left of the paint.
  function painted(layer) {
    const actions = state.actions.filter((action) => action.layer === layer);
    if (actions.length === 1 && actions[0].png) return actions[0].png; // as it came, which is known before it is drawn
    const canvas = canvasOf(layer);
    if (!actions.some((action) => action.erase)) return canvas.toDataURL("image/png");
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    for (let at = 3; at < data.length; at += 4) if (data[at] > 127) return canvas.toDataURL("image/png");
    return null;
  }

  function repaint(layer) {
    const canvas = canvasOf(layer);
    const context = canvas.getContext("2d");
    context.clearRect(0, 0, canvas.width, canvas.height);
    for (const action of state.actions) {
      if (action.layer !== layer) continue;
      if (action.path) stroke(action, 0);
      else if (action.picture.naturalWidth) context.drawImage(action.picture, 0, 0);
    }
  }

  // From the `start`-th place on, so that a long stroke stays quick.
  function stroke({ layer, erase, size, path }, start) {
    const context = canvasOf(layer).getContext("2d");
    Object.assign(context, { lineWidth: size, lineCap: "round", lineJoin: "round", strokeStyle: PAINTS[layer] });
    context.globalCompositeOperation = erase ? "destination-out" : "source-over";
    context.beginPath();
    context.moveTo(...path[start]);
    path.slice(start).forEach((place) => context.lineTo(...place));
    context.stroke();
    context.globalCompositeOperation = "source-over";
  }

  // --- showing --------------------------------------------------------------------------------------------

  function draw() {
    const { prompts, pending, pointer } = state;
    find("drawn").replaceChildren();
    find("marks").replaceChildren();
    prompts.forEach((prompt, at) => drawOne(prompt, at + 1));
    if (pending) {
      mark(...pending, "");
      if (pointer) drawBox(boxOf(pending, pointer));
    }
    const lines = prompts.map((prompt) => make("li", { text: describe(prompt) }));
    find("prompts").replaceChildren(...lines);
    find("prompts").hidden = !prompts.length;
    find("undo").disabled = find("clear").disabled = !state.actions.length;
  }

  function drawOne({ type, point, box, label }, number) {
    if (label === 0) mark(...point, `\u2212${number}`, "mark excluding");
    else if (type === "point") mark(...point, number);
    if (type === "box") {
      drawBox(box);
      mark(box[0], box[1], number);
    }
    if (type in PAINTS) markLayer(type, number);
  }

  function drawBox([x1, y1, x2, y2]) {
    find("drawn").append(outlined("rect", { x: x1, y: y1, width: x2 - x1, height: y2 - y1 }, "#ffffff", "6 4"));
  }

  function mark(x, y, text, kind = "mark") {
    const node = make("span", { class: kind, text });
    put(node, x, y, state.image);
    find("marks").append(node);
  }

  function markLayer(layer, number) {
    const first = state.actions.find((action) => action.layer === layer && action.path);
    if (first) mark(...first.path[0], number);
  }

  return {
    state,
    load,
    undo,
    clear,
    draw,
    stroke,
    // `label` as in the API: 1 on what is meant, 0 on what is not.
    addPoint(place, label) {
      act({ kind: "point", place, label });
      say(`${label ? "Point" : "Excluded point"} at ${place.join(", ")}`);
    },
    addBox(from, to) {
      const place = boxOf(from, to);
      state.pending = null;
      if (place[0] === place[2] || place[1] === place[3]) {
        draw();
        say("That box is empty; click two corners that are apart");
        return;
      }
      act({ kind: "box", place });
      say(`Box ${place.join(", ")}`);
    },
    addStroke: act,
    cancel() {
      if (!state.pending) return;
      state.pending = null;
      draw();
      say("Box cancelled");
    },
  };
}

function boxOf([ax, ay], [bx, by]) {
  return [Math.min(ax, bx), Math.min(ay, by), Math.max(ax, bx), Math.max(ay, by)];
}

function describe({ type, point, box, label }) {
  const place = (point || box || []).map(short).join(", ");
  const name = label === 0 ? "excluded point" : type;
  return place ? `${name} ${place}` : name;
}
