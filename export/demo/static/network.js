// step.onnx in ONNX Runtime Web: WebAssembly, one thread.

import * as ort from "./ort/ort.js";

ort.env.wasm.numThreads = 1;
ort.env.logLevel = "error";

const OPTIONS = {
  executionProviders: ["wasm"],
  extra: { session: { disable_quant_qdq: "1" } }, // weights of few bits are dequantized once, not at every step
};

export class Network {
  /** `layers`: name, shape and threshold of each, in order; `shape`: [C, H, W] of the input. */
  static async load(model, layers, shape) {
    const session = await ort.InferenceSession.create(model, OPTIONS);
    return new Network(session, layers, shape);
  }

  constructor(session, layers, shape) {
    Object.assign(this, { session, layers, shape });
    this.last = Promise.resolve(); // calls wait for one another
  }

  /** U[-1] = 0 of every layer. */
  start() {
    return this.layers.map(({ shape }) => zeros(shape));
  }

  /** One time step: (U[t-1] of every layer, float32 input) -> [U[t], S[t]], tensors and arrays of bytes. */
  step(membranes, frame) {
    this.last = this.last.then(() => this.#run(membranes, frame));
    return this.last;
  }

  async #run(membranes, frame) {
    const { session } = this;
    const given = [new ort.Tensor("float32", frame, [1, ...this.shape]), ...membranes];
    const found = await session.run(Object.fromEntries(session.inputNames.map((name, i) => [name, given[i]])));
    const [out, ...next] = session.outputNames.map((name) => found[name]);
    const spikes = next.map((membrane, i) => Uint8Array.from(membrane.data, (u) => +(u > this.layers[i].threshold)));
    spikes[spikes.length - 1] = Uint8Array.from(out.data);
    return [next, spikes];
  }
}

function zeros(shape) {
  return new ort.Tensor("float32", new Float32Array(shape.reduce((a, b) => a * b)), [1, ...shape]);
}
