// The table of the output neurons: membranes as bars, spikes over time, counts.

import { colourOf, pointwise } from "./pixels.js";

export class Outputs {
  constructor(body, { classes, steps, layers }) {
    Object.assign(this, { steps, threshold: layers.at(-1).threshold });
    this.rows = classes.map((name) => new Row(body, name, steps));
  }

  show(trial) {
    const membranes = trial.membranes.at(-1).data;
    if (trial.t === 0) this.range = [-this.threshold, 2 * this.threshold]; // it grows while a trial goes on
    this.range = [Math.min(this.range[0], ...membranes), Math.max(this.range[1], ...membranes)];
    const colours = [colourOf("--cell"), colourOf("--spike")];
    this.rows.forEach((row, i) => {
      row.membrane(membranes[i], this.range, this.threshold);
      row.spikes(trial.fired.map((spikes) => spikes[i]), trial.counts[i], colours);
      row.element.classList.toggle("leads", i === trial.leader);
    });
  }
}

class Row {
  constructor(body, name, steps) {
    this.steps = steps;
    this.element = body.insertRow();
    const head = Object.assign(document.createElement("th"), { scope: "row" });
    head.append(boxed("name", name));
    this.value = document.createElement("span");
    this.fill = document.createElement("i");
    this.line = document.createElement("b");
    this.strip = Object.assign(document.createElement("canvas"), { width: steps, height: 1 });
    this.strip.setAttribute("aria-hidden", "true");
    if (steps > 100) this.strip.style.imageRendering = "auto"; // no spike is to fall between the screen's points
    this.grown = document.createElement("i");
    this.element.append(head);
    this.#cell("membrane", this.value, boxed("bar", this.fill, this.line));
    this.#cell("over", this.strip, boxed("bar", this.grown));
    this.count = this.element.insertCell();
  }

  #cell(kind, ...parts) {
    this.element.insertCell().append(boxed(kind, ...parts));
  }

  membrane(u, [least, most], threshold) {
    const at = (value) => (100 * (value - least)) / (most - least);
    const [from, to] = [at(Math.min(u, 0)), at(Math.max(u, 0))];
    Object.assign(this.fill.style, { left: `${from}%`, width: `${to - from}%` });
    this.fill.classList.toggle("above", u > threshold);
    this.line.style.left = `${at(threshold)}%`;
    this.value.textContent = u.toFixed(2);
  }

  spikes(fired, count, [cell, spike]) {
    this.strip.getContext("2d").drawImage(pointwise(1, this.steps, (t) => (fired[t] ? spike : cell)), 0, 0);
    this.grown.style.width = `${(100 * count) / this.steps}%`;
    this.count.textContent = count;
  }
}

function boxed(kind, ...parts) {
  const box = Object.assign(document.createElement("div"), { className: kind });
  box.append(...parts);
  return box;
}
