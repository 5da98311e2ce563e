// step.onnx in ONNX Runtime Web: WebAssembly, one thread.

import * as ort from "./ort/ort.js";

ort.env.wasm.numThreads = 1;
ort.env.logLevel = "error";

const OPTIONS = {
  executionProviders: ["wasm"],
  extra: { session: { disable_quant_qdq: "1" } }, // weights of few bits are dequantized once, not at every step
};

export class Network {
  /**
   * Of the page's facts: `layers`, the shape of each in order and its threshold, a number, a list of its channels', or
   * null where it never spikes; `states`, the names of a neuron's; `shape`, [C, H, W] of the input.
   */
  static async load(model, { layers, states, shape }) {
    const session = await ort.InferenceSession.create(model, OPTIONS);
    return new Network(session, layers, states, shape);
  }

  constructor(session, layers, states, shape) {
    Object.assign(this, { session, layers, states, shape });
    this.last = Promise.resolve(); // calls wait for one another
  }

  /** The states of every layer before the first step, 0. */
  start() {
    return this.layers.flatMap(({ shape }) => this.states.map(() => zeros(shape)));
  }

  /** The membranes among the states, one array for each layer. */
  membranes(states) {
    const at = this.states.indexOf("mem");
    return this.layers.map((_, i) => states[i * this.states.length + at].data);
  }

  /** One time step: (states, float32 input) -> [states, output, S[t] of every layer], arrays of bytes. */
  step(states, frame) {
    this.last = this.last.then(() => this.#run(states, frame));
    return this.last;
  }

  async #run(states, frame) {
    const { session } = this;
    const given = [new ort.Tensor("float32", frame, [1, ...this.shape]), ...states];
    const found = await session.run(Object.fromEntries(session.inputNames.map((name, i) => [name, given[i]])));
    const [output, ...next] = session.outputNames.map((name) => found[name]);
    const fired = (membranes, layer) => membranes.map((u, n) => u > thresholdOf(layer, n));
    const spikes = this.membranes(next).map((membranes, i) => Uint8Array.from(fired(membranes, this.layers[i])));
    return [next, output.data, spikes];
  }
}

/** The threshold of a layer's neuron `n`; Infinity where it never spikes. */
export function thresholdOf({ threshold, shape: [channels, ...sizes] }, n) {
  const size = sizes.reduce((a, b) => a * b, 1);
  return (Array.isArray(threshold) ? threshold[Math.floor(n / size)] : threshold) ?? Infinity;
}

function zeros(shape) {
  return new ort.Tensor("float32", new Float32Array(shape.reduce((a, b) => a * b)), [1, ...shape]);
}
