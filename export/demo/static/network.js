// step.onnx in ONNX Runtime Web: WebAssembly, one thread.

import * as ort from "./ort/ort.js";

ort.env.wasm.numThreads = 1;
ort.env.logLevel = "error";

const OPTIONS = {
  executionProviders: ["wasm"],
  extra: { session: { disable_quant_qdq: "1" } }, // dequantizes low-bit weights once, not at every step
};

export class Network {
  /**
   * Takes these of the page's facts: `layers`, with each layer's shape and threshold (a number, a list of its channels'
   * or null if it never spikes); `states`, the names of a neuron's states; `shape`, the input's [C, H, W].
   */
  static async load(model, { layers, states, shape }) {
    const session = await ort.InferenceSession.create(model, OPTIONS);
    return new Network(session, layers, states, shape);
  }

  constructor(session, layers, states, shape) {
    Object.assign(this, { session, layers, states, shape });
    this.last = Promise.resolve(); // calls run one at a time
  }

  /** The initial states of every layer, all 0. */
  start() {
    return this.layers.flatMap(({ shape }) => this.states.map(() => zeros(shape)));
  }

  /** The membranes from the states, one array for each layer. */
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

/** The threshold of a layer's neuron `n`; Infinity if it never spikes. */
export function thresholdOf({ threshold, shape: [channels, ...sizes] }, n) {
  const size = sizes.reduce((a, b) => a * b, 1);
  return (Array.isArray(threshold) ? threshold[Math.floor(n / size)] : threshold) ?? Infinity;
}

function zeros(shape) {
  return new ort.Tensor("float32", new Float32Array(shape.reduce((a, b) => a * b)), [1, ...shape]);
}
