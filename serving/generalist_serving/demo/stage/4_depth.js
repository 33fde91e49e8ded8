// Depth beside the picture and over it, and the value at a pixel.

function withUnit(value, unit) {
  if (value === null) return "not known";
  const text = value.toFixed(value < 10 ? 2 : 1);
  return unit === "metre" ? `${text} m` : `${text} (relative)`;
}

function createDepth(find) {
  const panel = find("depth");
  const probe = find("probe");
  const crosses = [find("frame"), probe].map((node) => node.querySelector(".cross"));
  let depth = null;
  let image = null;
  let place = null;

  function show(next, picture, another) {
    if (!another && depth && next && depth.preview === next.preview) return;
    [depth, image, place] = [picture ? next : null, picture, null];
    panel.hidden = find("blend").hidden = !depth;
    crosses.forEach((cross) => (cross.hidden = true));
    find("reading").textContent = "";
    if (!depth) return;
    for (const node of [find("blend"), probe.querySelector("img")]) node.src = depth.preview;
    find("near").textContent = withUnit(depth.min, depth.unit);
    find("far").textContent = withUnit(depth.max, depth.unit);
    find("ramp").style.background = `linear-gradient(to right, ${props.ramp.join(", ")})`;
  }

  function valueAt(x, y) {
    const [rows, columns] = depth.size;
    const row = Math.min(Math.floor((y / image.height) * rows), rows - 1);
    const column = Math.min(Math.floor((x / image.width) * columns), columns - 1);
    return depth.values[row * columns + column];
  }

  function look(x, y) {
    if (!depth) return;
    place = [x, y];
    for (const cross of crosses) {
      cross.hidden = false;
      put(cross, x, y, image);
    }
    find("reading").textContent = `x ${x}, y ${y}: ${withUnit(valueAt(x, y), depth.unit)}`;
  }

  const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

  probe.addEventListener("keydown", (event) => {
    if (!depth || !(event.key in MOVES)) return;
    event.preventDefault();
    const [rows, columns] = depth.size;
    const sides = [image.width, image.height];
    const steps = [image.width / columns, image.height / rows].map((step) => Math.max(1, Math.round(step)));
    const from = place || sides.map((side) => Math.round(side / 2));
    const by = event.shiftKey ? 10 : 1;
    look(...from.map((at, axis) => Math.min(Math.max(at + MOVES[event.key][axis] * steps[axis] * by, 0), sides[axis])));
  });
  probe.addEventListener("focus", () => depth && !place && look(Math.round(image.width / 2), Math.round(image.height / 2)));
  probe.addEventListener("pointermove", (event) => depth && look(...pixelsAt(event, probe, image)));

  return { show, look };
}
