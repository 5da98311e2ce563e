// The table of output neurons: membranes as bars, spikes or membranes over time, and their sums.

import { thresholdOf } from "./network.js";
import { colourOf, mixed, pointwise } from "./pixels.js";

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
    const [cell, below, above] = ["--cell", "--membrane", "--spike"].map(colourOf);
    const colour = (value) => (value < 0 ? mixed(cell, below, value / least) : mixed(cell, above, value / most));
    const scores = this.counts ? [0, this.steps] : around([-1, 1], trial.scores);
    this.rows.forEach((row, i) => {
      row.membrane(membranes[i], this.range, this.thresholds[i]);
      row.over(trial.outputs.map((output) => output[i]), colour);
      row.score(trial.scores[i], scores, this.counts ? 0 : 2);
      row.element.classList.toggle("leads", i === trial.leader);
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
    const head = Object.assign(document.createElement("th"), { scope: "row" });
    head.append(boxed("name", name));
    this.value = document.createElement("span");
    this.fill = document.createElement("i");
    this.line = document.createElement("b");
    this.strip = Object.assign(document.createElement("canvas"), { width: steps, height: 1 });
    this.strip.setAttribute("aria-hidden", "true");
    if (steps > 100) this.strip.style.imageRendering = "auto"; // so no spike falls between the screen's pixels
    this.grown = document.createElement("i");
    this.element.append(head);
    this.#cell("membrane", this.value, boxed("bar", this.fill, this.line));
    this.#cell("over", this.strip, boxed("bar", this.grown));
    this.sum = this.element.insertCell();
  }

  #cell(kind, ...parts) {
    this.element.insertCell().append(boxed(kind, ...parts));
  }

  membrane(u, range, threshold) {
    stretch(this.fill, u, range);
    this.fill.classList.toggle("above", u > threshold);
    this.line.hidden = threshold === Infinity;
    this.line.style.left = `${place(threshold, range)}%`;
    this.value.textContent = u.toFixed(2);
  }

  over(values, colour) {
    this.strip.getContext("2d").drawImage(pointwise(1, this.steps, (t) => colour(values[t] ?? 0)), 0, 0);
  }

  score(value, range, digits) {
    stretch(this.grown, value, range);
    this.grown.classList.toggle("below", value < 0);
    this.sum.textContent = value.toFixed(digits);
  }
}

// The position of a value in a range, in percent.
function place(value, [least, most]) {
  return (100 * (value - least)) / (most - least);
}

// Makes an element reach from 0 to a value.
function stretch({ style }, value, range) {
  const [from, to] = [place(Math.min(value, 0), range), place(Math.max(value, 0), range)];
  Object.assign(style, { left: `${from}%`, width: `${to - from}%` });
}

function boxed(kind, ...parts) {
  const box = Object.assign(document.createElement("div"), { className: kind });
  box.append(...parts);
  return box;
}
