// The drawing area: a pen moved by a pointer or by keys, on an empty area or on an image. Strokes become the pixels of a
// small image, prepared like MNIST's digits.

import { paint } from "./views.js";

const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const WIDEST = 560; // maximum width of the canvas in points

export class Drawing {
  /**
   * `drawn(finished)` is called when the image changes; `finished`: whether a pointer's stroke has ended.
   * `penned(down)` is called when a key lowers or lifts the pen.
   */
  constructor(canvas, facts, drawn, penned) {
    const [channels, height, width] = facts.shape;
    Object.assign(this, { canvas, channels, height, width, scale: facts.scale, drawn, penned });
    this.possible = !facts.frames && (channels === 1 || channels === 3);
    this.fine = Math.max(1, Math.floor(WIDEST / Math.max(height, width)));
    Object.assign(canvas, { width: width * this.fine, height: height * this.fine });
    this.scaled = true; // whether strokes are scaled and centered
    this.cursor = [Math.floor(width / 2), Math.floor(height / 2)];
    this.#empty();
    if (this.possible) this.#listen();
    this.show();
  }

  #empty() {
    this.image = null; // bytes from `put`
    this.strokes = [];
    this.pen = null; // the stroke being drawn with keys
  }

  /** The network's input in bytes: [C * H * W], or those from `put`. */
  get pixels() {
    if (!this.strokes.length) return this.image ?? new Uint8Array(this.channels * this.height * this.width);
    const made = this.scaled && !this.image ? centered : plain;
    const gray = made(this.strokes, this.height, this.width).map((value) => Math.round((value / 255) * this.scale));
    const ink = Uint8Array.from({ length: this.channels * gray.length }, (_, i) => gray[i % gray.length]);
    return this.image ? ink.map((value, i) => Math.max(value, this.image[i])) : ink;
  }

  /** Replaces the drawing with an image; strokes drawn on it aren't scaled. */
  put(bytes) {
    this.#empty();
    this.image = bytes;
    this.#changed(false);
  }

  clear() {
    this.#empty();
    this.penned(false);
    this.#changed(false);
  }

  #changed(finished) {
    this.show();
    this.drawn(finished);
  }

  /** Paints the area; `t` is the step whose frame is shown, if the data has frames. */
  show(t = 0) {
    const context = this.canvas.getContext("2d");
    context.fillRect(0, 0, this.canvas.width, this.canvas.height);
    if (this.image) paint(this.canvas, this.image, this, t);
    else if (!this.strokes.length) this.#invite(context);
    trace(context, this.strokes, this.fine, penFor(this.height, this.width));
    if (this.possible && this.canvas.matches(":focus-visible")) this.#mark(context);
  }

  #invite(context) {
    const { width, height } = this.canvas;
    Object.assign(context, { fillStyle: "#a5afba", font: `${height / 14}px sans-serif`, textAlign: "center" });
    context.fillText("draw here", width / 2, height / 2);
    context.fillStyle = "#000";
  }

  // The position of the key-controlled pen, visible on ink and background.
  #mark(context) {
    const [x, y] = this.cursor.map((place) => place * this.fine);
    for (const [lineWidth, strokeStyle] of [[7, "#000"], [3, this.pen ? "#ff9a3c" : "#5aa9ff"]]) {
      Object.assign(context, { lineWidth, strokeStyle });
      context.strokeRect(x, y, this.fine, this.fine);
    }
  }

  #listen() {
    const { canvas } = this;
    let stroke = null;
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button !== 0 || stroke) return;
      canvas.setPointerCapture(event.pointerId);
      this.#lift();
      this.strokes.push((stroke = [this.#at(event)]));
      this.#changed(false);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!stroke) return;
      const events = event.getCoalescedEvents?.() ?? [];
      stroke.push(...(events.length ? events : [event]).map((one) => this.#at(one)));
      this.#changed(false);
    });
    for (const end of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(end, () => {
        if (!stroke) return;
        stroke = null;
        this.#changed(true);
      });
    }
    canvas.addEventListener("keydown", (event) => this.#key(event));
    canvas.addEventListener("focus", () => this.show());
    canvas.addEventListener("blur", () => this.show());
  }

  // A pointer's position in pixels of the image.
  #at(event) {
    const box = this.canvas.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * this.width, ((event.clientY - box.top) / box.height) * this.height];
  }

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key in MOVES) this.#move(MOVES[event.key]);
    else if (event.key === " ") this.#toggle();
    else if (event.key === "Backspace" || event.key === "Delete") this.clear();
    else return;
    event.preventDefault();
  }

  #move(by) {
    const most = [this.width - 1, this.height - 1];
    this.cursor = this.cursor.map((place, axis) => Math.min(Math.max(place + by[axis], 0), most[axis]));
    if (!this.pen) return this.show();
    this.pen.push(this.#middle());
    this.#changed(false);
  }

  #toggle() {
    if (this.pen) this.#lift();
    else {
      this.strokes.push((this.pen = [this.#middle()]));
      this.penned(true);
      this.#changed(false);
    }
    this.show();
  }

  #lift() {
    if (this.pen) this.penned(false);
    this.pen = null;
  }

  #middle() {
    return this.cursor.map((place) => place + 0.5);
  }
}

const FINE = 8; // points across a pixel

/** Renders strokes, lists of points [x, y] in pixels, without moving them: bytes 0 to 255 [height * width]. */
function plain(strokes, height, width) {
  return rendered(strokes, height, width, penFor(height, width));
}

/** The same, scaled to fit a box of 20/28 of the image, with the center of mass in the middle. */
function centered(strokes, height, width) {
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
function penFor(height, width) {
  return (Math.min(height, width) * 2.6) / 28;
}

/** Draws strokes on a canvas with `fine` points per pixel. */
function trace(context, strokes, fine, pen) {
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
  const center = mass.reduce((sum, value, i) => sum + value * (i + 0.5), 0) / total;
  const first = mass.findIndex((value) => value > 0);
  const last = mass.findLastIndex((value) => value > 0);
  return Math.min(Math.max(Math.round(mass.length / 2 - center), -first), mass.length - 1 - last);
}
