// COCO's compressed run lengths -> a bitmap, its filled picture and its outline.

const MASK_SIDE = 1024;

function readRuns(counts) {
  const runs = [];
  for (let at = 0; at < counts.length; ) {
    let value = 0;
    let shift = 0;
    let code;
    do {
      code = counts.charCodeAt(at++) - 48;
      value |= (code & 31) << shift;
      shift += 5;
    } while (code & 32);
    if (code & 16) value |= -1 << shift;
    runs.push(runs.length > 2 ? value + runs[runs.length - 2] : value);
  }
  return runs;
}

// Every `step`-th pixel of the mask; `columns` and `rows` count those. Runs go down the columns.
function readMask({ size: [height, width], counts }) {
  const step = Math.max(1, Math.ceil(Math.max(height, width) / MASK_SIDE));
  const [columns, rows] = [Math.ceil(width / step), Math.ceil(height / step)];
  const bits = new Uint8Array(columns * rows);
  let start = 0;
  readRuns(counts).forEach((length, number) => {
    const stop = Math.min(start + length, width * height);
    for (let x = Math.floor(start / height); number % 2 && x * height < stop; x++) {
      if (x % step) continue;
      const top = Math.max(start - x * height, 0);
      const bottom = Math.min(stop - x * height, height);
      for (let y = Math.ceil(top / step); y * step < bottom; y++) bits[y * columns + x / step] = 1;
    }
    start += length;
  });
  return { bits, columns, rows, step };
}

function maskHas({ bits, columns, step }, x, y) {
  return bits[Math.floor(y / step) * columns + Math.floor(x / step)] === 1;
}

function maskCanvas({ bits, columns, rows }, colour) {
  const canvas = make("canvas", { width: columns, height: rows });
  const pixels = new ImageData(columns, rows);
  const rgb = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
  bits.forEach((bit, at) => bit && pixels.data.set([...rgb, 255], 4 * at));
  canvas.getContext("2d").putImageData(pixels, 0, 0);
  return canvas;
}

// Closed paths along the pixels' edges, with the mask on their right, in pixels of the picture.
function maskOutline(mask, image) {
  const next = edgesOf(mask);
  const across = mask.columns + 1;
  const place = (corner) =>
    [corner % across, Math.floor(corner / across)]
      .map((at, axis) => Math.min(at * mask.step, axis ? image.height : image.width))
      .join(" ");
  const paths = [];
  for (const first of next.keys()) {
    while (next.get(first).length) {
      const corners = [first];
      let heading = 0;
      for (let at = first; ; ) {
        const to = next.get(at).pop();
        if (to - at === heading) corners.pop();
        heading = to - at;
        corners.push(to);
        at = to;
        if (at === first) break;
      }
      paths.push(`M${corners.map(place).join("L")}Z`);
    }
  }
  return paths.join("");
}

function edgesOf({ bits, columns, rows }) {
  const next = new Map();
  const add = (from, to) => (next.has(from) ? next.get(from).push(to) : next.set(from, [to]));
  const has = (x, y) => x >= 0 && y >= 0 && x < columns && y < rows && bits[y * columns + x] === 1;
  const across = columns + 1;
  for (let y = 0; y < rows; y++) {
    for (let x = 0; x < columns; x++) {
      if (!has(x, y)) continue;
      const corner = y * across + x;
      if (!has(x, y - 1)) add(corner, corner + 1);
      if (!has(x + 1, y)) add(corner + 1, corner + across + 1);
      if (!has(x, y + 1)) add(corner + across + 1, corner + across);
      if (!has(x - 1, y)) add(corner + across, corner);
    }
  }
  return next;
}
