"use strict";
// Plays spikes over the window: rasters, the membranes under them, and the output's scores so far.
(() => {
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const COLOURS = ["--series-1", "--series-2", "--series-3"];

  const bytes = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const floats = (text) => new Float32Array(bytes(text).buffer);
  const plural = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;

  // Unpacks a raster's spikes, 8 to a byte, to one byte each [rows, steps].
  function unpacked(text, rows, steps) {
    const packed = bytes(text);
    const width = Math.ceil(steps / 8);
    return Array.from({ length: rows }, (_, row) =>
      Uint8Array.from({ length: steps }, (_, t) => (packed[row * width + (t >> 3)] >> (7 - (t & 7))) & 1));
  }

  // Scores of each class after 0, 1, 2, ... steps, summed as in the network: in the order of the steps, in float32.
  function scored(rows, steps) {
    const scores = [rows.map(() => 0)];
    for (let t = 0; t < steps; t += 1) scores.push(rows.map((row, label) => Math.fround(scores[t][label] + row[t])));
    return scores;
  }

  // A neuron's position; the shape is [height, width, channels] or [neurons].
  function place(shape, neuron, classes) {
    if (classes) return `class ${classes[neuron]}`;
    if (shape.length === 1) return `neuron ${neuron}`;
    const [, width, channels] = shape;
    const cell = Math.floor(neuron / channels);
    return `channel ${neuron % channels}, row ${Math.floor(cell / width)}, column ${cell % width}`;
  }

  class Player {
    constructor(root) {
      this.root = root;
      this.film = JSON.parse(root.querySelector("script").textContent);
      this.steps = this.film.steps;
      this.sums = "sums" in root.dataset; // whether scores are summed output membranes; otherwise they count spikes
      this.find = (name) => root.querySelector(`.${name}`);
      this.strips = [...root.querySelectorAll(".strip")];
      this.done = this.steps; // steps shown, initially the whole window
      this.timer = null;
      if (still.matches) this.find("speed").value = "2";
      this.listen();
      this.show(0);
    }

    listen() {
      this.find("which").addEventListener("change", (event) => this.show(Number(event.target.value)));
      this.find("play").addEventListener("click", () => this.toggle());
      this.find("back").addEventListener("click", () => this.halt(this.done - 1));
      this.find("step").addEventListener("click", () => this.halt(this.done + 1));
      this.find("at").addEventListener("input", (event) => this.halt(Number(event.target.value)));
      this.root.addEventListener("keydown", (event) => this.key(event));
      this.strips.forEach((strip, layer) => {
        const raster = strip.querySelector(".raster");
        raster?.addEventListener("pointermove", (event) => this.point(layer, raster, event));
      });
      new ResizeObserver(() => this.draw()).observe(this.find("strips"));
      dark.addEventListener("change", () => this.draw());
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
      this.example = this.film.examples[number];
      this.spikes = this.example.layers.map((one) => unpacked(one.bits, one.rows.length, this.steps));
      this.traces = this.example.layers.map((one) => one.traces.map((trace) => floats(trace)));
      this.scores = scored((this.sums ? this.traces : this.spikes).at(-1), this.steps);
      this.range = this.scores.flat().reduce(([low, high], one) => [Math.min(low, one), Math.max(high, one)], [0, 0]);
      const image = this.find("image");
      image.src = this.example.image;
      image.alt = this.example.alt;
      image.style.aspectRatio = this.example.aspect;
      this.strips.forEach((strip, layer) => {
        strip.querySelector(".what").textContent = this.example.layers[layer].what;
      });
      this.update();
      this.say();
    }

    toggle() {
      if (this.timer !== null) {
        this.halt(this.done);
        return;
      }
      if (this.done === this.steps) this.done = 0;
      this.find("play").textContent = "Pause";
      this.last = performance.now();
      this.owed = 0;
      this.timer = requestAnimationFrame((now) => this.tick(now));
      this.update();
    }

    tick(now) {
      this.owed += ((now - this.last) / 1000) * Number(this.find("speed").value);
      this.last = now;
      const whole = Math.max(0, Math.floor(this.owed)); // a frame may have begun just before the click
      if (whole) {
        this.owed -= whole;
        this.done = Math.min(this.steps, this.done + whole);
        this.update();
      }
      if (this.done === this.steps) this.halt(this.steps);
      else this.timer = requestAnimationFrame((next) => this.tick(next));
    }

    // Stops at a step.
    halt(done) {
      if (this.timer !== null) cancelAnimationFrame(this.timer);
      this.timer = null;
      this.find("play").textContent = "Play";
      this.done = Math.max(0, Math.min(this.steps, done));
      this.update();
      this.say();
    }

    update() {
      this.find("at").value = this.done;
      this.find("at").setAttribute("aria-valuetext", `after ${this.done} of ${this.steps} steps`);
      this.find("done").textContent = `${this.done} of ${this.steps}`;
      this.frame();
      const scores = this.scores[this.done];
      const [low, high] = this.range;
      const percent = 100 / (high - low || 1);
      const best = this.leader(this.done);
      [...this.find("counts").tBodies[0].rows].forEach((row, label) => {
        row.querySelector(".count").textContent = this.sums ? scores[label].toFixed(2) : scores[label];
        const bar = row.querySelector(".bar").style;
        bar.marginLeft = `${percent * (Math.min(0, scores[label]) - low)}%`;
        bar.width = `${percent * Math.abs(scores[label])}%`;
        row.classList.toggle("true", label === this.example.label);
        row.classList.toggle("best", label === best);
      });
      this.draw();
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
      const best = this.leader(this.done);
      const names = this.film.classes;
      let since = this.done;
      while (since > 0 && this.leader(since - 1) === best) since -= 1;
      const most = this.scores[this.done][best];
      let lead = this.sums ? "all sums are 0" : "no output spike yet";
      if (best >= 0) {
        const score = this.sums ? `a sum of ${most.toFixed(2)}` : plural(most, "spike");
        lead = `class ${names[best]} leads with ${score}, since step ${since}`;
      }
      this.find("verdict").textContent = `After ${plural(this.done, "step")}: ${lead}. It is a ${names[this.example.label]}.`;
    }

    // The class with the highest score, the lowest on ties; -1: none yet.
    leader(done) {
      const most = Math.max(...this.scores[done]);
      return (this.sums ? done : most) ? this.scores[done].indexOf(most) : -1;
    }

    point(layer, raster, event) {
      const box = raster.getBoundingClientRect();
      const rows = this.example.layers[layer].rows;
      const row = Math.floor(((event.clientY - box.top) / box.height) * rows.length);
      if (!(row in rows)) return;
      const { name, shape, classes } = this.film.layers[layer];
      const count = this.spikes[layer][row].subarray(0, this.done).reduce((sum, one) => sum + one, 0);
      this.find("pointed").textContent = `${name}, ${place(shape, rows[row], classes)}: ${plural(count, "spike")} so far`;
    }

    draw() {
      const style = getComputedStyle(document.documentElement);
      const colour = (name) => style.getPropertyValue(name).trim();
      this.strips.forEach((strip, layer) => {
        const raster = strip.querySelector(".raster");
        if (raster) this.raster(raster, layer, colour);
        this.membranes(strip.querySelector(".membranes"), layer, colour);
      });
    }

    // Clears a canvas at the screen's resolution, scaled to CSS pixels, and marks the current step.
    canvas(canvas, colour) {
      const scale = window.devicePixelRatio || 1;
      const [width, height] = [canvas.clientWidth, canvas.clientHeight];
      canvas.width = Math.round(width * scale);
      canvas.height = Math.round(height * scale);
      const pen = canvas.getContext("2d");
      pen.scale(scale, scale);
      const x = (this.done / this.steps) * width;
      pen.fillStyle = colour("--strong");
      if (this.done < this.steps) pen.fillRect(x - 0.75, 0, 1.5, height);
      return { pen, width, height, x };
    }

    // The color of a row's spikes, which only differs in the output layer.
    row(layer, number) {
      if (!this.film.layers[layer].classes) return "--ink";
      if (number === this.example.label) return "--series-1";
      return number === this.example.answer ? "--series-2" : "--ink";
    }

    raster(canvas, layer, colour) {
      const { pen, width, height } = this.canvas(canvas, colour);
      const rows = this.spikes[layer];
      const [across, down] = [width / this.steps, height / rows.length];
      const [w, h] = [Math.max(1, across * 0.8), Math.max(1, down * 0.8)];
      rows.forEach((row, number) => {
        pen.fillStyle = colour(this.row(layer, number));
        for (let t = 0; t < this.steps; t += 1) {
          pen.globalAlpha = t < this.done ? 1 : 0.15;
          if (row[t]) pen.fillRect(t * across, number * down, w, h);
        }
      });
    }

    membranes(canvas, layer, colour) {
      const { pen, width, height, x } = this.canvas(canvas, colour);
      const traces = this.traces[layer];
      const { threshold, classes } = this.film.layers[layer];
      const lines = threshold === null ? [] : [threshold]; // an integrator has none
      const all = [...traces.flatMap((trace) => [...trace]), ...lines, 0];
      const [low, high] = [all.reduce((a, b) => Math.min(a, b)), all.reduce((a, b) => Math.max(a, b))];
      const at = (value) => height - 3 - ((value - low) / (high - low || 1)) * (height - 6);
      pen.strokeStyle = colour("--muted");
      pen.setLineDash([4, 4]);
      for (const line of lines) this.stroke(pen, [line, line], width, at);
      pen.setLineDash([]);
      traces.forEach((trace, number) => {
        const plain = classes && number !== this.example.label && number !== this.example.answer;
        const chosen = classes ? Number(number !== this.example.label) : number;
        pen.strokeStyle = colour(plain ? "--muted" : COLOURS[chosen]);
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

  for (const root of document.querySelectorAll(".player")) new Player(root);
})();
