// The spikes of every layer: feature maps side by side, the neurons of other layers in rows.

import { colourOf, mixed, pointwise } from "./pixels.js";

export class Layers {
  constructor(element, layers) {
    this.element = element;
    const spiking = layers.map((layer, number) => ({ ...layer, number })).filter(({ threshold }) => threshold !== null);
    this.pictures = spiking.map((layer) => new Picture(element, layer));
    element.parentElement.hidden = !spiking.length;
    new ResizeObserver(() => this.pictures.forEach((picture) => picture.fit())).observe(element);
  }

  /** `all`: shows all spikes so far, instead of the last step's. */
  show(trial, all) {
    const colours = [colourOf("--cell"), colourOf("--spike")];
    const values = all ? trial.totals : trial.spikes;
    this.pictures.forEach((picture) => picture.show(values[picture.number], all, colours));
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
    this.canvas = Object.assign(document.createElement("canvas"), { width: this.fullWidth, height: this.fullHeight });
    this.canvas.setAttribute("role", "img");
    this.canvas.setAttribute("aria-label", `Spikes of ${layer}`);
    const figure = document.createElement("figure");
    const caption = document.createElement("figcaption");
    const name = Object.assign(document.createElement("b"), { textContent: layer });
    const what = shape.length === 3 ? `${maps} maps of ${height} x ${width}` : `${shape[0].toLocaleString("en")} neurons`;
    this.said = document.createElement("span");
    caption.append(name, Object.assign(document.createElement("span"), { textContent: what }), this.said);
    figure.append(caption, this.canvas);
    element.append(figure);
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
    const colour = (i) => {
      const neuron = this.#neuron(i % this.fullWidth, Math.floor(i / this.fullWidth));
      return neuron === null ? null : shades[values[neuron]];
    };
    this.canvas.getContext("2d").clearRect(0, 0, this.fullWidth, this.fullHeight);
    this.canvas.getContext("2d").drawImage(pointwise(this.fullHeight, this.fullWidth, colour), 0, 0);
    const fired = values.reduce((sum, value) => sum + (value > 0), 0);
    const share = `${fired.toLocaleString("en")} of ${this.neurons.toLocaleString("en")}`;
    this.said.textContent = all ? `${share} so far, up to ${most} times` : `${share} spike`;
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
