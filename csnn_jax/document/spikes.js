// Plays spikes step by step and draws them: in reports of runs, which include this file, and in the demonstration.

function plural(count, noun) {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

/** The classes' scores after some steps: the output's spikes or membranes, summed in float32 as in the network. */
export class Scores {
  /**
   * `sums`: whether membranes are summed; otherwise spikes are counted. `leader`: the class with the highest score, the
   * lowest one on ties, or null if there's no spike yet; `since`: the step since which it has led without interruption.
   */
  constructor(values, sums, steps = 0, leader = null, since = null) {
    Object.assign(this, { values, sums, steps, leader, since });
  }

  /** The scores after one more step. */
  plus(output) {
    const values = this.values.map((score, label) => score + output[label]);
    const most = Math.max(...values);
    const leader = most || this.sums ? values.indexOf(most) : null;
    const since = leader === this.leader ? this.since : this.steps + 1;
    return new Scores(values, this.sums, this.steps + 1, leader, since);
  }

  /** The leader's score in words. */
  get most() {
    const score = this.values[this.leader];
    return this.sums ? `a sum of ${score.toFixed(2)}` : plural(score, "spike");
  }
}

/** Plays at a given speed, never running two steps at once. */
export class Player {
  /**
   * `advance()` does one step, perhaps later, and returns whether there are more. `changed()` is called after every step
   * and when playing starts or stops.
   */
  constructor(advance, changed) {
    Object.assign(this, { advance, changed });
    this.speed = 10; // steps per second
    this.run = null; // identifies the current playback; null: paused
    this.busy = false; // whether a step is being computed
  }

  get playing() {
    return this.run !== null;
  }

  pause() {
    this.run = null;
    this.changed();
  }

  async step() {
    if (this.busy) return;
    const { run } = this;
    this.busy = true;
    try {
      const more = await this.advance();
      if (!more && this.run === run) this.run = null;
    } finally {
      this.busy = false;
    }
    this.changed();
  }

  async play() {
    if (this.playing) return;
    const run = (this.run = {});
    this.changed();
    let due = performance.now();
    while (this.run === run) {
      due = Math.max(due + 1000 / this.speed, performance.now());
      await this.step();
      await new Promise((done) => setTimeout(done, due - performance.now()));
    }
  }
}

/** A custom CSS property of the page. */
export function styled(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/** Calls `draw` when an element's size, or the page's colors, change. */
export function redrawing(element, draw) {
  new ResizeObserver(draw).observe(element);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
}

/** Whether the reader asked for less motion. */
export const still = matchMedia("(prefers-reduced-motion: reduce)").matches;

/** Makes a bar reach from 0 to a value of a range. */
export function stretch({ style }, value, range) {
  const [from, to] = [percent(Math.min(value, 0), range), percent(Math.max(value, 0), range)];
  Object.assign(style, { left: `${from}%`, width: `${to - from}%` });
}

/** The place of a value in a range. */
export function percent(value, [least, most]) {
  return (100 * (value - least)) / (most - least || 1);
}

/** An element with properties and contents. */
export function made(tag, properties = {}, ...contents) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...contents);
  return element;
}

const bytes = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));

// Unpacks a raster's spikes, 8 to a byte, to one byte each [rows, steps].
function unpacked(text, rows, steps) {
  const packed = bytes(text);
  const width = Math.ceil(steps / 8);
  return Array.from({ length: rows }, (_, row) =>
    Uint8Array.from({ length: steps }, (_, t) => (packed[row * width + (t >> 3)] >> (7 - (t & 7))) & 1));
}

/** A film of examples, see csnn_jax/report/film.py, in the HTML of film.html. */
class FilmView {
  constructor(root) {
    this.root = root;
    Object.assign(this, JSON.parse(root.querySelector("script").textContent)); // steps, sums, classes, layers, examples
    this.find = (name) => root.querySelector(`.${name}`);
    this.done = this.steps; // steps shown, initially the whole window
    this.player = new Player(() => (this.done += 1) < this.steps, () => this.update());
    this.build();
    this.listen();
    this.show(0);
  }

  build() {
    this.find("which").append(...this.examples.map(({ title }, i) => new Option(title, i)));
    this.find("at").max = this.steps;
    const scores = this.sums ? "Summed membranes so far" : "Output spikes so far";
    this.find("counts").caption.textContent = scores;
    this.find("tall").ariaLabel = scores;
    this.find("unit").textContent = this.sums ? "sum" : "spikes";
    this.rows = this.classes.map((name) => {
      const row = this.find("counts").tBodies[0].insertRow();
      row.append(made("th", { scope: "row", textContent: name }));
      row.append(made("td", {}, made("span", { className: "bar" })), made("td", { className: "count number" }));
      return row;
    });
    const canvas = (kind, ariaLabel) => made("canvas", { className: kind, role: "img", ariaLabel });
    this.strips = this.layers.map(({ name, threshold }) => ({
      what: made("span"),
      raster: threshold === null ? null : canvas("raster", `Spikes of ${name} over the window`), // an integrator
      membranes: canvas("membranes", `Membranes of ${name} over the window`),
    }));
    this.strips.forEach(({ what, raster, membranes }, layer) => {
      const caption = made("figcaption", {}, made("strong", { textContent: this.layers[layer].name }), " ", what);
      const shown = raster ? [raster, membranes] : [membranes];
      this.find("pointed").before(made("figure", { className: "strip" }, caption, ...shown));
    });
  }

  listen() {
    const on = (name, kind, action) => this.find(name).addEventListener(kind, action);
    if (still) this.find("speed").value = "2";
    const setSpeed = () => (this.player.speed = Number(this.find("speed").value));
    setSpeed();
    on("speed", "change", setSpeed);
    on("which", "change", (event) => this.show(Number(event.target.value)));
    on("play", "click", () => this.toggle());
    on("back", "click", () => this.halt(this.done - 1));
    on("step", "click", () => this.halt(this.done + 1));
    on("at", "input", (event) => this.halt(Number(event.target.value)));
    this.root.addEventListener("keydown", (event) => this.key(event));
    this.strips.forEach(({ raster }, layer) => {
      raster?.addEventListener("pointermove", (event) => this.point(layer, raster, event));
    });
    redrawing(this.find("strips"), () => this.draw());
  }

  key(event) {
    if (event.target !== this.root || event.ctrlKey || event.metaKey || event.altKey) return; // other elements have their own keys
    const to = { ArrowRight: this.done + 1, ArrowLeft: this.done - 1, Home: 0, End: this.steps }[event.key];
    if (event.key === " ") this.toggle();
    else if (to !== undefined) this.halt(to);
    else return;
    event.preventDefault();
  }

  show(number) {
    this.example = this.examples[number];
    this.spikes = this.example.layers.map((layer) => unpacked(layer.bits, layer.rows.length, this.steps));
    this.traces = this.example.layers.map(({ traces }) => traces.map((trace) => new Float32Array(bytes(trace).buffer)));
    const output = (this.sums ? this.traces : this.spikes).at(-1);
    this.scores = [new Scores(new Float32Array(this.classes.length), this.sums)];
    for (let t = 0; t < this.steps; t += 1) this.scores.push(this.scores[t].plus(output.map((row) => row[t])));
    const all = this.scores.flatMap(({ values }) => [...values]);
    this.range = all.reduce(([low, high], score) => [Math.min(low, score), Math.max(high, score)], [0, 0]);
    const image = this.find("image");
    Object.assign(image, { src: this.example.image, alt: this.example.alt });
    image.style.aspectRatio = this.example.aspect;
    this.strips.forEach(({ what }, layer) => (what.textContent = this.example.layers[layer].what));
    this.update();
  }

  toggle() {
    if (this.player.playing) return this.player.pause();
    if (this.done === this.steps) this.done = 0;
    return this.player.play();
  }

  // Stops at a step.
  halt(done) {
    this.done = Math.max(0, Math.min(this.steps, done));
    this.player.pause();
  }

  update() {
    const { done, steps } = this;
    const { values, leader } = this.scores[done];
    this.find("play").textContent = this.player.playing ? "Pause" : "Play";
    Object.assign(this.find("at"), { value: done, ariaValueText: `after ${done} of ${steps} steps` });
    this.find("done").textContent = `${done} of ${steps}`;
    this.frame();
    this.rows.forEach((row, label) => {
      row.querySelector(".count").textContent = this.sums ? values[label].toFixed(2) : values[label];
      stretch(row.querySelector(".bar"), values[label], this.range);
      row.classList.toggle("true", label === this.example.label);
      row.classList.toggle("best", label === leader);
    });
    this.draw();
    if (!this.player.playing) this.say();
  }

  // Shows the latest frame of a film, whose frames are side by side; their sum is last, for the whole window.
  frame() {
    const { frames, key } = this.example;
    if (!frames) return;
    const at = this.done === this.steps ? frames : Math.max(0, this.done - 1);
    this.find("image").style.objectPosition = `${(100 * at) / frames}% 0`;
    this.find("frame").textContent = at === frames ? `All ${frames} frames` : `Frame ${at + 1} of ${frames}${key}`;
  }

  // Text for screen readers, updated when playback stops.
  say() {
    const scores = this.scores[this.done];
    let lead = this.sums ? "all sums are 0" : "no output spike yet";
    if (scores.leader !== null) {
      lead = `class ${this.classes[scores.leader]} leads with ${scores.most}, since step ${scores.since}`;
    }
    const after = `After ${plural(this.done, "step")}: ${lead}.`;
    this.find("verdict").textContent = `${after} It is a ${this.classes[this.example.label]}.`;
  }

  point(layer, raster, event) {
    const box = raster.getBoundingClientRect();
    const rows = this.example.layers[layer].rows;
    const row = Math.floor(((event.clientY - box.top) / box.height) * rows.length);
    if (!(row in rows)) return;
    const count = this.spikes[layer][row].subarray(0, this.done).reduce((sum, spike) => sum + spike, 0);
    const place = `${this.layers[layer].name}, ${this.place(layer, rows[row])}`;
    this.find("pointed").textContent = `${place}: ${plural(count, "spike")} so far`;
  }

  // A neuron's position; the shape is [height, width, channels] or [neurons].
  place(layer, neuron) {
    const [, width, channels] = this.layers[layer].shape;
    if (layer === this.layers.length - 1) return `class ${this.classes[neuron]}`;
    if (channels === undefined) return `neuron ${neuron}`;
    const cell = Math.floor(neuron / channels);
    return `channel ${neuron % channels}, row ${Math.floor(cell / width)}, column ${cell % width}`;
  }

  draw() {
    this.strips.forEach(({ raster, membranes }, layer) => {
      if (raster) this.raster(raster, layer);
      this.membranes(membranes, layer);
    });
  }

  // Clears a canvas at the screen's resolution, scaled to CSS pixels, and marks the current step.
  canvas(canvas) {
    const scale = window.devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    Object.assign(canvas, { width: Math.round(width * scale), height: Math.round(height * scale) });
    const pen = canvas.getContext("2d");
    pen.scale(scale, scale);
    const x = (this.done / this.steps) * width;
    pen.fillStyle = styled("--strong");
    if (this.done < this.steps) pen.fillRect(x - 0.75, 0, 1.5, height);
    return { pen, width, height, x };
  }

  // The colors of a layer's rows or membranes by index. In the output layer, only the class and the answer have some.
  colors(layer, others) {
    const { label, answer } = this.example;
    const chosen = { [answer]: "--series-2", [label]: "--series-1" };
    return layer === this.layers.length - 1 ? (i) => chosen[i] ?? others(i) : others;
  }

  raster(canvas, layer) {
    const { pen, width, height } = this.canvas(canvas);
    const rows = this.spikes[layer];
    const [across, down] = [width / this.steps, height / rows.length];
    const [w, h] = [Math.max(1, across * 0.8), Math.max(1, down * 0.8)];
    const color = this.colors(layer, () => "--ink");
    rows.forEach((row, number) => {
      pen.fillStyle = styled(color(number));
      for (let t = 0; t < this.steps; t += 1) {
        pen.globalAlpha = t < this.done ? 1 : 0.15;
        if (row[t]) pen.fillRect(t * across, number * down, w, h);
      }
    });
  }

  membranes(canvas, layer) {
    const { pen, width, height, x } = this.canvas(canvas);
    const traces = this.traces[layer];
    const { threshold } = this.layers[layer];
    const lines = threshold === null ? [] : [threshold]; // an integrator has none
    const all = [...traces.flatMap((trace) => [...trace]), ...lines, 0];
    const range = [all.reduce((a, b) => Math.min(a, b)), all.reduce((a, b) => Math.max(a, b))];
    const at = (value) => height - 3 - (percent(value, range) / 100) * (height - 6);
    pen.strokeStyle = styled("--muted");
    pen.setLineDash([4, 4]);
    for (const line of lines) this.stroke(pen, [line, line], width, at);
    pen.setLineDash([]);
    const output = layer === this.layers.length - 1;
    const color = this.colors(layer, (i) => (output ? "--muted" : `--series-${i + 1}`));
    traces.forEach((trace, number) => {
      const plain = color(number) === "--muted";
      pen.strokeStyle = styled(color(number));
      pen.lineWidth = plain ? 0.6 : 1.4;
      for (const [from, to, alpha] of [[0, x, plain ? 0.6 : 1], [x, width, 0.2]]) {
        pen.save();
        pen.beginPath();
        pen.rect(from, 0, to - from, height);
        pen.clip();
        pen.globalAlpha = alpha;
        this.stroke(pen, trace, width, at);
        pen.restore();
      }
    });
  }

  // A line through values at the middle of each step.
  stroke(pen, values, width, at) {
    const across = width / values.length;
    pen.beginPath();
    values.forEach((value, t) => pen.lineTo((values.length === 2 ? t * 2 : t + 0.5) * across, at(value)));
    pen.stroke();
  }
}

for (const root of document.querySelectorAll(".player")) new FilmView(root);
