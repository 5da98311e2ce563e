// Renders pen strokes as the pixels of a small image, prepared like MNIST's digits.

const FINE = 8; // points across a pixel

/** Renders strokes, lists of points [x, y] in pixels, without moving them: bytes 0 to 255 [height * width]. */
export function plain(strokes, height, width) {
  return rendered(strokes, height, width, penFor(height, width));
}

/** The same, scaled to fit a box of 20/28 of the image, with the center of mass in the middle. */
export function centred(strokes, height, width) {
  const pen = penFor(height, width);
  const points = strokes.flat();
  const [left, top, right, bottom] = bounds(points);
  const box = Math.round((Math.min(height, width) * 20) / 28);
  const scale = (box - pen) / Math.max(right - left, bottom - top, box / 3);
  const place = ([x, y]) => [
    (x - (left + right) / 2) * scale + width / 2,
    (y - (top + bottom) / 2) * scale + height / 2,
  ];
  return inTheMiddle(rendered(strokes.map((stroke) => stroke.map(place)), height, width, pen), height, width);
}

/** Width of the pen in pixels, like MNIST's strokes. */
export function penFor(height, width) {
  return (Math.min(height, width) * 2.6) / 28;
}

/** Draws strokes on a canvas with `fine` points per pixel. */
export function trace(context, strokes, fine, pen) {
  Object.assign(context, { lineWidth: pen * fine, lineCap: "round", lineJoin: "round", strokeStyle: "#fff" });
  for (const stroke of strokes) {
    context.beginPath();
    stroke.forEach(([x, y]) => context.lineTo(x * fine, y * fine));
    context.lineTo(stroke.at(-1)[0] * fine + 0.01, stroke.at(-1)[1] * fine); // a single point wouldn't be drawn
    context.stroke();
  }
}

function bounds(points) {
  const xs = points.map(([x]) => x);
  const ys = points.map(([, y]) => y);
  return [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)];
}

// Every pixel is the mean of its points.
function rendered(strokes, height, width, pen) {
  const canvas = Object.assign(document.createElement("canvas"), { width: width * FINE, height: height * FINE });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  trace(context, strokes, FINE, pen);
  const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
  const sums = new Float64Array(height * width);
  for (let y = 0; y < canvas.height; y++) {
    for (let x = 0; x < canvas.width; x++) {
      sums[Math.floor(y / FINE) * width + Math.floor(x / FINE)] += data[(y * canvas.width + x) * 4 + 3];
    }
  }
  return Uint8Array.from(sums, (sum) => Math.round(sum / FINE ** 2));
}

function inTheMiddle(image, height, width) {
  const byColumn = new Float64Array(width);
  const byRow = new Float64Array(height);
  image.forEach((value, i) => {
    byColumn[i % width] += value;
    byRow[Math.floor(i / width)] += value;
  });
  const [right, down] = [way(byColumn), way(byRow)];
  const moved = new Uint8Array(image.length);
  image.forEach((value, i) => {
    if (value) moved[i + down * width + right] = value;
  });
  return moved;
}

// How far to move mass to center it, limited so that all of it stays inside.
function way(mass) {
  const total = mass.reduce((a, b) => a + b);
  const centre = mass.reduce((sum, value, i) => sum + value * (i + 0.5), 0) / total;
  const first = mass.findIndex((value) => value > 0);
  const last = mass.findLastIndex((value) => value > 0);
  return Math.min(Math.max(Math.round(mass.length / 2 - centre), -first), mass.length - 1 - last);
}
