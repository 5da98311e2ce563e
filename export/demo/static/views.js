// What the page shows of a trial: the output neurons, the spikes of every layer, and the bundle's test images.

import { thresholdOf } from "./network.js";
import { made, percent, stretch, styled } from "./spikes.js";

/**
 * Paints bytes [C * H * W] (or those of frame `t`) on a canvas: in color if there are three channels, otherwise the sum
 * of the channels in gray.
 */
export function paint(canvas, bytes, { channels, height, width, scale }, t = 0) {
  const size = channels * height * width;
  const frame = bytes.length > size ? bytes.subarray(t * size, (t + 1) * size) : bytes;
  const value = (channel, i) => (frame[channel * height * width + i] * 255) / scale;
  const all = Array.from({ length: channels }, (_, channel) => channel);
  const color = (i) => {
    if (channels === 3) return all.map((channel) => value(channel, i));
    const sum = all.reduce((total, channel) => total + value(channel, i), 0);
    return [sum, sum, sum];
  };
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = false;
  context.drawImage(pointwise(height, width, color), 0, 0, canvas.width, canvas.height);
}

/** A canvas [height, width] with the color [red, green, blue] of every point; null: transparent. */
function pointwise(height, width, color) {
  const canvas = made("canvas", { width, height });
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  for (let i = 0; i < height * width; i++) {
    const shade = color(i);
    if (shade) image.data.set([...shade, 255], 4 * i);
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

/** [red, green, blue] of a custom CSS property of the page, which must have the form #rrggbb. */
function colorOf(name) {
  return [1, 3, 5].map((at) => parseInt(styled(name).slice(at, at + 2), 16));
}

function mixed(from, to, share) {
  return from.map((value, i) => value + (to[i] - value) * share);
}

/** The spikes of every layer: feature maps side by side, the neurons of other layers in rows. */
export class Layers {
  constructor(element, layers) {
    const spiking = layers.map((layer, number) => ({ ...layer, number })).filter(({ threshold }) => threshold !== null);
    this.pictures = spiking.map((layer) => new Picture(element, layer));
    element.parentElement.hidden = !spiking.length;
    new ResizeObserver(() => this.pictures.forEach((picture) => picture.fit())).observe(element);
  }

  /** `all`: shows all spikes so far, instead of the last step's. */
  show(trial, all) {
    const colors = [colorOf("--cell"), colorOf("--spike")];
    const values = all ? trial.totals : trial.spikes;
    this.pictures.forEach((picture) => picture.show(values[picture.number], all, colors));
  }
}

class Picture {
  constructor(element, { layer, shape, number }) {
    this.number = number; // the layer's number, from 0
    const [maps, height, width] = shape.length === 3 ? shape : [1, ...rows(shape[0])];
    this.neurons = shape.reduce((a, b) => a * b);
    const across = shape.length === 3 ? columns(maps, height, width) : 1;
    Object.assign(this, { maps, height, width, across, gap: shape.length === 3 ? 1 : 0 });
    this.fullWidth = across * (width + this.gap) - this.gap;
    this.fullHeight = Math.ceil(maps / across) * (height + this.gap) - this.gap;
    const size = { width: this.fullWidth, height: this.fullHeight };
    this.canvas = made("canvas", { ...size, role: "img", ariaLabel: `Spikes of ${layer}` });
    const what = shape.length === 3 ? `${maps} maps of ${height} x ${width}` : `${shape[0].toLocaleString("en")} neurons`;
    this.count = made("span");
    const caption = made("figcaption", {}, made("b", {}, layer), made("span", {}, what), this.count);
    element.append(made("figure", {}, caption, this.canvas));
    this.fit();
  }

  /** Makes every neuron as large as possible, by a whole number of the screen's pixels. */
  fit() {
    const room = this.canvas.parentElement.clientWidth * devicePixelRatio;
    const points = Math.max(1, Math.min(Math.floor(room / this.fullWidth), Math.floor(16 * devicePixelRatio)));
    this.canvas.style.width = `${(this.fullWidth * points) / devicePixelRatio}px`;
  }

  show(values, all, [cell, spike]) {
    const most = Math.max(1, values.reduce((a, b) => Math.max(a, b), 0));
    const shades = Array.from({ length: most + 1 }, (_, value) => mixed(cell, spike, value / most));
    const color = (i) => {
      const neuron = this.#neuron(i % this.fullWidth, Math.floor(i / this.fullWidth));
      return neuron === null ? null : shades[values[neuron]];
    };
    this.canvas.getContext("2d").clearRect(0, 0, this.fullWidth, this.fullHeight);
    this.canvas.getContext("2d").drawImage(pointwise(this.fullHeight, this.fullWidth, color), 0, 0);
    const fired = values.reduce((sum, value) => sum + (value > 0), 0);
    const share = `${fired.toLocaleString("en")} of ${this.neurons.toLocaleString("en")}`;
    this.count.textContent = all ? `${share} so far, up to ${most} times` : `${share} spike`;
  }

  // The neuron at a point of the picture; null between maps and after the last one.
  #neuron(x, y) {
    const [column, row] = [Math.floor(x / (this.width + this.gap)), Math.floor(y / (this.height + this.gap))];
    const [left, top] = [x - column * (this.width + this.gap), y - row * (this.height + this.gap)];
    const map = row * this.across + column;
    if (left >= this.width || top >= this.height || map >= this.maps) return null;
    const neuron = (map * this.height + top) * this.width + left;
    return neuron < this.neurons ? neuron : null;
  }
}

// Number of maps in a row: the picture is about twice as wide as high; a few more maps if that fills the last row.
function columns(maps, height, width) {
  const least = Math.min(maps, Math.max(1, Math.ceil(Math.sqrt((2 * maps * (height + 1)) / (width + 1)))));
  const full = Array.from({ length: Math.ceil(least / 2) }, (_, i) => least + i).find((count) => maps % count === 0);
  return full ?? least;
}

// [height, width] for the neurons of a layer without maps.
function rows(neurons) {
  const width = neurons <= 20 ? neurons : Math.min(64, 2 ** Math.ceil(Math.log2(Math.sqrt(4 * neurons))));
  return [Math.ceil(neurons / width), width];
}

/** The table of output neurons: membranes as bars, spikes or membranes over time, and their sums. */
export class Outputs {
  constructor(body, { classes, steps, layers, readout }) {
    this.thresholds = classes.map((_, i) => thresholdOf(layers.at(-1), i));
    Object.assign(this, { steps, counts: readout === "spikes" });
    this.rows = classes.map((name) => new Row(body, name, steps));
  }

  show(trial) {
    const membranes = trial.membranes.at(-1);
    const highest = Math.max(...this.thresholds);
    const usual = highest < Infinity ? highest : 1;
    if (trial.t === 0) this.range = [-usual, 2 * usual]; // grows during a trial
    this.range = around(this.range, membranes);
    const [least, most] = this.counts ? [0, 1] : this.range;
    const [cell, below, above] = ["--cell", "--membrane", "--spike"].map(colorOf);
    const color = (value) => (value < 0 ? mixed(cell, below, value / least) : mixed(cell, above, value / most));
    const { values, leader } = trial.scores;
    const scores = this.counts ? [0, this.steps] : around([-1, 1], values);
    this.rows.forEach((row, i) => {
      row.membrane(membranes[i], this.range, this.thresholds[i]);
      row.over(trial.outputs.map((output) => output[i]), color);
      row.score(values[i], scores, this.counts ? 0 : 2);
      row.element.classList.toggle("leads", i === leader);
    });
  }
}

// Extends a range to include all values.
function around([least, most], values) {
  return [Math.min(least, ...values), Math.max(most, ...values)];
}

class Row {
  constructor(body, name, steps) {
    this.steps = steps;
    this.element = body.insertRow();
    this.element.append(made("th", { scope: "row" }, made("div", { className: "name" }, name)));
    [this.value, this.fill, this.line, this.grown] = ["span", "i", "b", "i"].map((tag) => made(tag));
    this.strip = made("canvas", { width: steps, height: 1, ariaHidden: "true" });
    if (steps > 100) this.strip.style.imageRendering = "auto"; // so no spike falls between the screen's pixels
    const bar = (...parts) => made("div", { className: "bar" }, ...parts);
    this.#cell("membrane", this.value, bar(this.fill, this.line));
    this.#cell("over", this.strip, bar(this.grown));
    this.sum = this.element.insertCell();
  }

  #cell(className, ...parts) {
    this.element.insertCell().append(made("div", { className }, ...parts));
  }

  membrane(u, range, threshold) {
    stretch(this.fill, u, range);
    this.fill.classList.toggle("above", u > threshold);
    this.line.hidden = threshold === Infinity;
    this.line.style.left = `${percent(threshold, range)}%`;
    this.value.textContent = u.toFixed(2);
  }

  over(values, color) {
    this.strip.getContext("2d").drawImage(pointwise(1, this.steps, (t) => color(values[t] ?? 0)), 0, 0);
  }

  score(value, range, digits) {
    stretch(this.grown, value, range);
    this.grown.classList.toggle("below", value < 0);
    this.sum.textContent = value.toFixed(digits);
  }
}

/** The bundle's test images, as buttons. */
export class Samples {
  /** `images`: the bytes of all images, concatenated; `taken(image)` is called when one is chosen. */
  constructor(element, facts, images, taken) {
    [this.channels, this.height, this.width] = facts.shape;
    Object.assign(this, { scale: facts.scale, taken });
    const size = images.length / facts.labels.length;
    this.images = facts.labels.map((_, i) => images.subarray(i * size, (i + 1) * size));
    this.buttons = facts.labels.map((label, i) => this.#button(facts.classes[label], i, facts));
    element.append(...this.buttons);
    element.classList.toggle("words", facts.classes.some((name) => name.length > 3));
    this.current = null;
  }

  #button(name, i, { frames, steps }) {
    const canvas = made("canvas");
    this.paint(canvas, this.images[i], frames ? Math.floor(steps / 2) : 0);
    const about = { type: "button", ariaLabel: `Test image ${i + 1}: ${name}`, ariaPressed: "false" };
    const button = made("button", about, canvas, made("span", {}, name));
    button.addEventListener("click", () => this.choose(i));
    return button;
  }

  /** Paints an image with one point per pixel. */
  paint(canvas, image, t = 0) {
    Object.assign(canvas, { width: this.width, height: this.height });
    paint(canvas, image, this, t);
  }

  choose(i) {
    this.mark(i);
    this.taken(this.images[i]);
  }

  next() {
    this.choose(((this.current ?? -1) + 1) % this.images.length);
  }

  /** Marks the image in the drawing area; null: none. */
  mark(i) {
    this.current = i;
    this.buttons.forEach((button, at) => (button.ariaPressed = String(at === i)));
  }
}
