// step.onnx in ONNX Runtime Web: hashes every layer's membranes and spikes at every step, see hashes.py.

import * as ort from "./ort.js";

ort.env.wasm.numThreads = 1;
ort.env.logLevel = "error";

const fetched = async (name) => (await fetch(name)).arrayBuffer();
const facts = await (await fetch("facts.json")).json();
const { batch, frames, steps, shape, layers, states: kinds, readout, thresholds } = facts; // thresholds by channel
const areMembranes = Object.keys(kinds).map((name) => /^mem\d+$/.test(name)); // whether a state is one
const session = await ort.InferenceSession.create(await fetched("step.onnx"), {
  executionProviders: ["wasm"],
  extra: { session: { disable_quant_qdq: "1" } }, // dequantizes low-bit weights once
});
const images = new Float32Array(await fetched("images.bin"));
const size = shape.reduce((a, b) => a * b);
const count = images.length / size / frames;
const words = new Uint32Array(count * layers.length * steps * 3);

// Odd factors in channel-height-width order, for neurons numbered in height-width-channel order.
const factors = layers.map(([channels, height = 1, width = 1]) => {
  const found = new Uint32Array(channels * height * width);
  for (let c = 0; c < channels; c++)
    for (let p = 0; p < height * width; p++) found[c * height * width + p] = p * channels + c;
  return [found.map((n) => 2 * n + 1), found.map((n) => Math.imul(n, 2654435761) | 1)];
});

function hash(membranes, outputs, layer, image, at) {
  const [one, other] = factors[layer];
  const neurons = one.length;
  const values = membranes.subarray(image * neurons, (image + 1) * neurons);
  const bits = new Uint32Array(values.buffer, values.byteOffset, neurons);
  const positions = neurons / layers[layer][0];
  const spikes = outputs?.subarray(image * neurons, (image + 1) * neurons);
  let [first, second, third] = [0, 0, 0];
  for (let n = 0; n < neurons; n++) {
    const value = bits[n] & 0x7f800000 ? bits[n] : 0; // subnormals count as 0
    first = (first + Math.imul(value, one[n])) | 0;
    second = (second + Math.imul(value ^ (value >>> 15), other[n])) | 0;
    if (spikes ? spikes[n] : values[n] > thresholds[layer][Math.floor(n / positions)]) third = (third + other[n]) | 0;
  }
  words.set([first, second, third], at);
}

const tensor = (data, dims) => new ort.Tensor("float32", data, dims);
for (let start = 0; start < count; start += batch) {
  const taken = Math.min(batch, count - start);
  const zeros = (dims) => tensor(new Float32Array(taken * dims.reduce((a, b) => a * b)), [taken, ...dims]);
  let states = Object.values(kinds).map(zeros);
  for (let t = 0; t < steps; t++) {
    const frame = new Float32Array(taken * size);
    for (let i = 0; i < taken; i++) {
      const from = ((start + i) * frames + (frames > 1 ? t : 0)) * size;
      frame.set(images.subarray(from, from + size), i * size);
    }
    const given = [tensor(frame, [taken, ...shape]), ...states];
    const found = await session.run(Object.fromEntries(session.inputNames.map((name, i) => [name, given[i]])));
    const [out, ...next] = session.outputNames.map((name) => found[name]);
    states = next;
    const after = next.filter((_, i) => areMembranes[i]);
    for (let layer = 0; layer < layers.length; layer++)
      for (let i = 0; i < taken; i++) {
        const outputs = readout === "spikes" && layer === layers.length - 1 ? out.data : undefined;
        hash(after[layer].data, outputs, layer, i, (((start + i) * layers.length + layer) * steps + t) * 3);
      }
  }
}
await fetch("hashes", { method: "POST", body: words });
