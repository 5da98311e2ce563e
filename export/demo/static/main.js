// The page: the drawing, the network's answer step by step, and the controls.

import { Drawing } from "./drawing.js";
import { encoder } from "./input.js";
import { Layers } from "./layers.js";
import { Network } from "./network.js";
import { Outputs } from "./outputs.js";
import { Player } from "./player.js";
import { Samples } from "./samples.js";
import { Trial } from "./trial.js";
import { described, drawable, nameOf, outputs, scored, versions } from "./words.js";

const get = (id) => document.getElementById(id);
const still = matchMedia("(prefers-reduced-motion: reduce)").matches;

async function fetched(name) {
  const found = await fetch(new URL(name, import.meta.url));
  if (!found.ok) throw new Error(`${name}: ${found.status} ${found.statusText}`);
  return found;
}

const bytes = async (name) => new Uint8Array(await (await fetched(name)).arrayBuffer());

async function main() {
  const facts = await (await fetched("demo.json")).json();
  const [model, samples, draws] = await Promise.all([
    bytes("step.onnx"),
    bytes("samples.bin"),
    facts.encoding === "rate" ? bytes("draws.bin") : null,
  ]);
  const network = await Network.load(model, facts);
  get("about").textContent = described(facts);
  get("versions").textContent = versions(facts);
  get("message").hidden = true;
  get("demo").hidden = false;
  new Page(facts, network, samples, encoder(facts, draws));
}

class Page {
  constructor(facts, network, samples, encode) {
    Object.assign(this, { facts, network, encode });
    this.layers = new Layers(get("layers"), facts.layers);
    this.outputs = new Outputs(get("outputs"), facts);
    for (const [id, text] of Object.entries(outputs(facts))) get(id).textContent = text;
    this.player = new Player(() => this.show());
    this.drawing = new Drawing(get("surface"), facts, (finished) => this.drawn(finished), (down) => this.penned(down));
    this.samples = new Samples(get("samples"), facts, samples, (image) => this.take(image));
    this.refuse();
    this.listen();
    this.setSpeed();
    if (facts.frames || !this.drawing.possible) this.samples.next();
    else this.restart();
    this.publish();
  }

  /** Hides the drawing controls if the network can't take drawings. */
  refuse() {
    get("how").textContent = drawable(this.facts);
    if (this.drawing.possible) return;
    get("draw-title").textContent = "Test images";
    for (const id of ["clear", "centring", "pen"]) get(id).hidden = true;
    get("surface").removeAttribute("tabindex");
    get("surface").setAttribute("role", "img");
    get("surface").setAttribute("aria-label", "The test image");
    get("surface").classList.add("still");
  }

  /** Starts a new trial with the contents of the drawing area. */
  restart() {
    const { pixels } = this.drawing;
    this.player.show(new Trial(this.network, this.facts, (t) => this.encode(pixels, t)));
    this.samples.paint(get("seen"), pixels);
  }

  drawn(finished) {
    if (!this.drawing.image) this.samples.mark(null);
    this.restart();
    if (finished && !still) this.player.play();
  }

  take(image) {
    this.drawing.put(image);
    if (!still) this.player.play();
  }

  penned(down) {
    get("pen").textContent = down ? "Pen down" : "Pen up";
  }

  setSpeed() {
    if (still) [get("speed").value, get("view").value] = ["2", "all"]; // avoids flicker
    this.player.speed = Number(get("speed").value);
  }

  toggle() {
    if (this.player.playing) this.player.pause();
    else {
      if (this.player.trial.done) this.restart();
      this.player.play();
    }
  }

  listen() {
    get("play").addEventListener("click", () => this.toggle());
    get("step").addEventListener("click", () => this.one());
    get("start").addEventListener("click", () => this.restart());
    get("clear").addEventListener("click", () => this.drawing.clear());
    get("centre").addEventListener("change", () => {
      this.drawing.scaled = get("centre").checked;
      this.restart();
    });
    get("speed").addEventListener("change", () => (this.player.speed = Number(get("speed").value)));
    get("view").addEventListener("change", () => this.show());
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.show());
    document.addEventListener("keydown", (event) => this.key(event));
  }

  one() {
    this.player.pause();
    return this.player.step();
  }

  key(event) {
    const shortcuts = {
      p: () => this.toggle(),
      s: () => this.one(),
      r: () => this.restart(),
      n: () => this.samples.next(),
      c: () => this.drawing.possible && this.drawing.clear(),
    };
    if (event.ctrlKey || event.metaKey || event.altKey || event.target instanceof HTMLSelectElement) return;
    if (event.key === "Enter" && event.target === get("surface")) this.toggle();
    else if (get("letters").checked && event.key in shortcuts) shortcuts[event.key]();
    else return;
    event.preventDefault();
  }

  /** Updates the page to the trial's state. */
  show() {
    const { player, facts } = this;
    const { trial } = player;
    get("play").textContent = player.playing ? "Pause" : trial.done ? "Play again" : "Play";
    get("step").disabled = trial.done;
    get("time").textContent = `Step ${trial.t} of ${trial.steps}`;
    Object.assign(get("progress"), { max: trial.steps, value: trial.t });
    this.layers.show(trial, get("view").value === "all");
    this.outputs.show(trial);
    if (facts.frames) this.drawing.show(Math.max(0, trial.t - 1));
    this.answer(trial);
  }

  answer(trial) {
    const name = trial.leader === null ? "?" : nameOf(this.facts, trial.leader);
    get("answer").textContent = name;
    get("answer").classList.toggle("word", name.length > 3);
    let said = trial.t ? "No output neuron has spiked yet." : "Not started.";
    if (trial.done) said = "No output neuron spiked.";
    if (trial.leader !== null) {
      const score = scored(this.facts, trial.scores[trial.leader]);
      said = `Leading since step ${trial.since}, with ${score}.`;
      if (trial.done) said = `In the lead since step ${trial.since}, with ${score} in ${trial.steps} steps.`;
    }
    get("since").textContent = said;
    // Announced only at the end: ten announcements per second would drown out everything else.
    get("live").textContent = trial.done ? `Answer ${name}. ${said}` : "";
  }

  /** For tests and the console. */
  publish() {
    const { drawing, player, samples } = this;
    globalThis.demo = {
      put: (image) => {
        samples.mark(null);
        drawing.put(Uint8Array.from(image));
      },
      get pixels() {
        return Array.from(drawing.pixels);
      },
      get scores() {
        return Array.from(player.trial.scores);
      },
    };
  }
}

function failed(error) {
  get("demo").hidden = true;
  get("message").hidden = false;
  get("message").textContent = `The network can't be shown: ${error.message}`;
}

addEventListener("unhandledrejection", (event) => failed(event.reason));
main();
