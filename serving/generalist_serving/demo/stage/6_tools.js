// The tools: pointer and numbers -> prompts.

const HINTS = {
  none: "",
  point: "Click what you mean, or enter a pixel",
  exclude: "Click what you do not mean, or enter a pixel",
  box: "Click two corners, or enter them; Escape cancels",
  scribble: "Scribble over what you mean",
  mask: "Paint what you mean",
  eraser: "Take paint away from the mask",
};
const POINTS = { point: 1, exclude: 0 }; // the API's labels
const FIELDS = { point: ["x", "y"], exclude: ["x", "y"], box: ["x1", "y1", "x2", "y2"] };
const BRUSHES = ["scribble", "mask", "eraser"];
const DRAG = 6; // so many pixels of the screen make a drag of what else is a click

function createTools(find, prompts, say) {
  const frame = find("frame");
  const brush = find("brush");
  const range = brush.querySelector("input");
  const ring = find("ring");
  const name = `tool-${Math.random().toString(36).slice(2)}`;
  const radios = [...find("choices").querySelectorAll("input")];
  let tool = "none";
  let image = null;
  let stroke = null;
  let pressed = null;

  function setImage(next) {
    image = next;
    stroke = pressed = null;
    range.max = Math.max(8, Math.round(Math.max(image.width, image.height) / 4));
    range.value = Math.max(4, Math.round(Math.min(image.width, image.height) / 25));
    choose(tool);
  }

  function choose(next) {
    tool = next;
    prompts.cancel();
    radios.forEach((radio) => (radio.checked = radio.value === tool));
    frame.dataset.tool = tool;
    brush.hidden = !BRUSHES.includes(tool);
    brush.querySelector("output").textContent = `${range.value} px`;
    find("numbers").hidden = !(tool in FIELDS);
    find("fields").replaceChildren(...(FIELDS[tool] || []).map(field));
    say(HINTS[tool]);
  }

  function field(letter) {
    const max = letter[0] === "x" ? image.width : image.height;
    const input = make("input", { type: "number", min: 0, max, step: "any", required: "", "data-name": letter });
    return make("label", {}, [make("span", { text: letter }), input]);
  }

  function submit(event) {
    event.preventDefault();
    const inputs = [...find("fields").querySelectorAll("input")];
    const wrong = inputs.find((input) => !input.validity.valid);
    if (wrong) {
      say(`${wrong.dataset.name} is ${wrong.value || "empty"}; use a number from 0 to ${wrong.max}`);
      wrong.focus();
      return;
    }
    const numbers = inputs.map((input) => Number(input.value));
    if (tool in POINTS) prompts.addPoint(numbers, POINTS[tool]);
    else prompts.addBox(numbers.slice(0, 2), numbers.slice(2));
  }

  function down(event) {
    if (tool === "none" || event.button !== 0 || !image) return;
    event.preventDefault();
    frame.focus({ preventScroll: true });
    frame.setPointerCapture(event.pointerId);
    const place = pixelsAt(event, frame, image);
    if (BRUSHES.includes(tool)) {
      startStroke(place);
    } else {
      pressed = { x: event.clientX, y: event.clientY, first: tool === "box" && !prompts.state.pending };
      if (pressed.first) prompts.state.pending = prompts.state.pointer = place;
      prompts.draw();
    }
  }

  function startStroke(place) {
    const erase = tool === "eraser";
    if (erase && !prompts.state.prompts.some(({ type }) => type === "mask")) {
      say("There is no mask to erase");
      return;
    }
    stroke = { kind: "stroke", layer: erase ? "mask" : tool, erase, size: Number(range.value), path: [place] };
    prompts.stroke(stroke, 0);
  }

  function move(event) {
    if (!image) return;
    const place = pixelsAt(event, frame, image);
    ring.hidden = !BRUSHES.includes(tool);
    ring.style.width = percent(range.value, image.width);
    put(ring, ...place, image);
    if (stroke) {
      stroke.path.push(place);
      prompts.stroke(stroke, stroke.path.length - 2);
    } else if (prompts.state.pending) {
      prompts.state.pointer = place;
      prompts.draw();
    }
  }

  function up(event) {
    const place = image && pixelsAt(event, frame, image);
    if (stroke) {
      const done = stroke;
      stroke = null;
      prompts.addStroke(done);
    } else if (pressed) {
      const { x, y, first } = pressed;
      pressed = null;
      if (tool in POINTS) prompts.addPoint(place, POINTS[tool]);
      else if (!first || Math.hypot(event.clientX - x, event.clientY - y) > DRAG) {
        if (prompts.state.pending) prompts.addBox(prompts.state.pending, place);
      }
    }
  }

  // The system took the pointer away, so nothing was meant by it but the paint that is there.
  function cancel() {
    pressed = null;
    if (stroke) prompts.addStroke(stroke);
    stroke = null;
  }

  radios.forEach((radio) => {
    radio.name = name;
    radio.addEventListener("change", () => choose(radio.value));
  });
  range.addEventListener("input", () => (brush.querySelector("output").textContent = `${range.value} px`));
  find("numbers").addEventListener("submit", submit);
  find("undo").addEventListener("click", () => prompts.undo());
  find("clear").addEventListener("click", () => prompts.clear());
  frame.addEventListener("pointerdown", down);
  frame.addEventListener("pointermove", move);
  frame.addEventListener("pointerup", up);
  frame.addEventListener("pointercancel", cancel);
  frame.addEventListener("pointerleave", () => (ring.hidden = true));
  element.addEventListener("keydown", (event) => event.key === "Escape" && prompts.cancel());

  return { setImage, looking: () => tool === "none" };
}
