// step.onnx in ONNX Runtime Web (WebAssembly, one thread), its input, and its steps for one image.

import * as ort from "./ort/ort.js";
import { Scores } from "./spikes.js";

ort.env.wasm.numThreads = 1;
ort.env.logLevel = "error";

const OPTIONS = {
  executionProviders: ["wasm"],
  extra: { session: { disable_quant_qdq: "1" } }, // dequantizes low-bit weights once, not at every step
};

export class Network {
  /**
   * Takes these of the page's facts: `layers`, with each layer's shape, threshold (a number, a list of its channels' or
   * null if it never spikes) and the names of its neurons' `states`; `past`, the shapes of stored outputs of earlier
   * steps; `shape`, the input's [C, H, W].
   */
  static async load(model, { layers, past, shape }) {
    const session = await ort.InferenceSession.create(model, OPTIONS);
    return new Network(session, layers, past, shape);
  }

  constructor(session, layers, past, shape) {
    Object.assign(this, { session, layers, past, shape });
    this.names = layers.flatMap(({ states }) => states);
    this.last = Promise.resolve(); // calls run one at a time
  }

  /** The initial states of every layer, and the stored outputs, all 0. */
  start() {
    const states = this.layers.flatMap(({ shape, states }) => states.map(() => zeros(shape)));
    return [...states, ...this.past.map(zeros)];
  }

  /** The membranes from the states, one array for each layer. */
  membranes(states) {
    return states.filter((_, i) => this.names[i] === "mem").map(({ data }) => data);
  }

  /** One time step: (states, float32 input) -> [states, output, S[t] of every layer], arrays of bytes. */
  step(states, frame) {
    this.last = this.last.then(() => this.#run(states, frame));
    return this.last;
  }

  async #run(states, frame) {
    const { session } = this;
    const inputs = [new ort.Tensor("float32", frame, [1, ...this.shape]), ...states];
    const results = await session.run(Object.fromEntries(session.inputNames.map((name, i) => [name, inputs[i]])));
    const [output, ...next] = session.outputNames.map((name) => results[name]);
    const fired = (membranes, layer) => membranes.map((u, n) => u > thresholdOf(layer, n));
    const spikes = this.membranes(next).map((membranes, i) => Uint8Array.from(fired(membranes, this.layers[i])));
    return [next, output.data, spikes];
  }
}

/** The threshold of a layer's neuron `n`; Infinity if it never spikes. */
export function thresholdOf({ threshold, shape: [channels, ...sizes] }, n) {
  const size = sizes.reduce((a, b) => a * b, 1);
  return (Array.isArray(threshold) ? threshold[Math.floor(n / size)] : threshold) ?? Infinity;
}

function zeros(shape) {
  return new ort.Tensor("float32", new Float32Array(shape.reduce((a, b) => a * b)), [1, ...shape]);
}

/**
 * The network's input at each step, the same numbers as from Python's encoders (csnn_jax/data/batches.py).
 *
 * Returns a function (pixels, t) -> Float32Array [C * H * W], t from 0.
 * Pixels are bytes [C * H * W], or [T * C * H * W] if the data has a time axis.
 * `draws` are bytes [T * C * H * W] for the rate encoding.
 */
export function encoder({ encoding, levels, steps, shape, frames }, draws) {
  const size = shape.reduce((a, b) => a * b);
  const at = (pixels, t) => (frames ? pixels.subarray(t * size, (t + 1) * size) : pixels);
  const kinds = {
    direct: (pixels, t) => Float32Array.from(at(pixels, t), (pixel) => levels[pixel]),
    rate: (pixels, t) => Float32Array.from(pixels, (pixel, i) => +(draws[t * size + i] < levels[pixel])),
    latency: (pixels, t) => Float32Array.from(pixels, (pixel) => +(moment(levels[pixel], steps) === t)),
  };
  return kinds[encoding];
}

// The step at which a pixel spikes, earlier if it's brighter; -1 (never) if it's 0.
function moment(level, steps) {
  return level ? Math.floor((2 * (255 - level) * (steps - 1) + 255) / 510) : -1;
}

/** The highest score minus the second highest, rounded to float32 as everywhere. */
export function marginOf(scores) {
  const [first, second] = Array.from(scores).sort((a, b) => b - a);
  return Math.fround(first - second);
}

/** One image presented to the network, step by step. */
export class Trial {
  /** `readout`: what determines the class, "spikes" or "membrane"; `frame(t)`: the input at step t, from 0. */
  constructor(network, { steps, readout, classes }, frame) {
    Object.assign(this, { network, steps, frame });
    this.t = 0; // steps done
    this.states = network.start();
    this.spikes = this.membranes.map(({ length }) => new Uint8Array(length)); // of the last step
    this.totals = this.membranes.map(({ length }) => new Uint32Array(length)); // of all steps so far
    this.outputs = []; // the output of each step
    this.scores = new Scores(new Float32Array(classes.length), readout === "membrane");
  }

  get done() {
    return this.t === this.steps;
  }

  /** The membranes of every layer. */
  get membranes() {
    return this.network.membranes(this.states);
  }

  /** Does one step; returns whether there are more. */
  async step() {
    if (this.done) return false;
    let output;
    [this.states, output, this.spikes] = await this.network.step(this.states, this.frame(this.t));
    this.t += 1;
    this.spikes.forEach((layer, i) => layer.forEach((spike, n) => (this.totals[i][n] += spike)));
    this.outputs.push(output);
    this.scores = this.scores.plus(output);
    return !this.done;
  }
}
