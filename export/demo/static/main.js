// The page: the drawing, the network's answer step by step, and the controls.

import { Drawing } from "./drawing.js";
import { encoder, marginOf, Network, Trial } from "./network.js";
import { Player, still } from "./spikes.js";
import { Layers, Outputs, Samples } from "./views.js";


const get = (id) => document.getElementById(id);

async function fetched(name) {
  const answer = await fetch(new URL(name, import.meta.url));
  if (!answer.ok) throw new Error(`${name}: ${answer.status} ${answer.statusText}`);
  return answer;
}

const short = (value) => String(Number(value.toPrecision(9)));

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

// The page's texts are all set as text, never as HTML.
function described({ data, steps, layers, accuracy, split }) {
  const stack = layers.map(({ layer, shape }) => `${layer} ${shape.join("x")}`).join(", ");
  const right = accuracy == null ? "" : ` Its accuracy after training was ${(100 * accuracy).toFixed(2)}% on the ${split} images.`;
  return `Trained on ${data}, it runs in your browser with ${steps} time steps per image.${right} Layers: ${stack}.`;
}

function versions({ versions }) {
  const list = Object.entries(versions).map(([name, version]) => `${name} ${version}`);
  return `Made by ${list.join(", with ")} (MIT license). Your drawings never leave this page.`;
}

// The texts about the table of output neurons, by the ids of their elements.
function about({ readout, layers }) {
  const line = "The line across the membranes is the threshold.";
  if (readout === "spikes") {
    const over = "The upper strip marks the steps with a spike, and the thin bar below it shows their count.";
    const answer = "The answer is the class with the most spikes, the lowest one on ties.";
    return { over: "Spikes over time", score: "Count", note: `${line} A neuron above it spikes. ${over} ${answer}` };
  }
  const neurons = layers.at(-1).threshold === null ? "These neurons never spike." : line;
  const over = "The upper strip shows the membrane at every step, and the thin bar below it shows their sum.";
  const answer = "The answer is the class with the largest sum, the lowest one on ties.";
  return { over: "Over time", score: "Sum", note: `${neurons} ${over} ${answer}` };
}

function drawable({ frames, shape, encoding, meaning, data }) {
  const [channels, height, width] = shape;
  if (frames) return "This network needs frames of events over time, which a drawing can't provide.";
  if (channels !== 1 && channels !== 3) return `This network needs ${channels} channels, but a drawing has only one.`;
  const shown = encoding === "direct" ? "" : ` Here ${meaning}.`;
  const honest =
    data === "mnist"
      ? "A mouse isn't a pen, so expect more errors than on test images."
      : "It was trained on different pictures and may not recognize what you draw.";
  return `The network's input: ${height} x ${width} pixels, scaled and centered as in MNIST. ${honest}${shown}`;
}

class Page {
  constructor(facts, network, samples, encode) {
    Object.assign(this, { facts, network, encode });
    this.layers = new Layers(get("layers"), facts.layers);
    this.outputs = new Outputs(get("outputs"), facts);
    for (const [id, text] of Object.entries(about(facts))) get(id).textContent = text;
    this.player = new Player(() => this.trial.step(), () => this.show());
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
    get("samples-title").textContent = "Choose one";
    for (const id of ["clear", "centering", "pen"]) get(id).hidden = true;
    get("surface").removeAttribute("tabindex");
    get("surface").setAttribute("role", "img");
    get("surface").setAttribute("aria-label", "The test image");
    get("surface").classList.add("still");
  }

  /** Starts a new trial with the contents of the drawing area. */
  restart() {
    const { pixels } = this.drawing;
    this.trial = new Trial(this.network, this.facts, (t) => this.encode(pixels, t));
    this.player.pause();
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
      if (this.trial.done) this.restart();
      this.player.play();
    }
  }

  listen() {
    get("play").addEventListener("click", () => this.toggle());
    get("step").addEventListener("click", () => this.one());
    get("start").addEventListener("click", () => this.restart());
    get("clear").addEventListener("click", () => this.drawing.clear());
    get("center").addEventListener("change", () => {
      this.drawing.scaled = get("center").checked;
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
    const { player, facts, trial } = this;
    get("play").textContent = player.playing ? "Pause" : trial.done ? "Play again" : "Play";
    get("step").disabled = trial.done;
    get("time").textContent = `Step ${trial.t} of ${trial.steps}`;
    Object.assign(get("progress"), { max: trial.steps, value: trial.t });
    this.layers.show(trial, get("view").value === "all");
    this.outputs.show(trial);
    if (facts.frames) this.drawing.show(Math.max(0, trial.t - 1));
    this.answer(trial);
  }

  answer({ t, done, steps, scores }) {
    const margin = marginOf(scores.values);
    const unknown = done && this.facts.margin !== null && margin < this.facts.margin;
    const name = scores.leader === null || unknown ? "?" : this.facts.classes[scores.leader];
    get("answer").textContent = name;
    get("answer").classList.toggle("word", name.length > 3);
    let text = t ? "No output neuron has spiked yet." : "Not started.";
    if (done) text = "No output neuron spiked.";
    if (scores.leader !== null) {
      text = `Leading since step ${scores.since}, with ${scores.most}.`;
      if (done) text = `In the lead since step ${scores.since}, with ${scores.most} in ${steps} steps.`;
    }
    if (unknown) {
      text = `Unknown: the highest score is ${short(margin)} ahead, and an answer needs ${short(this.facts.margin)}.`;
    }
    get("since").textContent = text;
    // Announced only at the end: ten announcements per second would drown out everything else.
    get("live").textContent = done ? (unknown ? text : `Answer ${name}. ${text}`) : "";
  }

  /** For tests and the console. */
  publish() {
    const page = this;
    globalThis.demo = {
      put(image) {
        page.samples.mark(null);
        page.drawing.put(Uint8Array.from(image));
      },
      get pixels() {
        return Array.from(page.drawing.pixels);
      },
      get scores() {
        return Array.from(page.trial.scores.values);
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
