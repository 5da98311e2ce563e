// Runs a model of a bundle in ONNX Runtime Web (WebAssembly): node ort_web.cjs MODEL CASE.json, see run_ort_web.py.
const fs = require("node:fs");
const ort = require("onnxruntime-web");

const tensor = (data, shape) => new ort.Tensor("float32", data, shape);

async function looped(session, image, { shape, membranes, steps }) {
  const [imageName, ...names] = session.inputNames;
  const [spikesName, ...nextNames] = session.outputNames;
  let state = membranes.map((dims) => tensor(new Float32Array(dims.reduce((a, b) => a * b)), dims));
  const spikes = [];
  for (let t = 0; t < steps; t++) {
    const feed = { [imageName]: tensor(image, shape) };
    names.forEach((name, i) => (feed[name] = state[i]));
    const found = await session.run(feed);
    spikes.push(...found[spikesName].data);
    state = nextNames.map((name) => found[name]);
  }
  return spikes;
}

async function whole(session, image, { shape }) {
  const found = await session.run({ [session.inputNames[0]]: tensor(image, shape) });
  return [...found[session.outputNames[1]].data];
}

async function main() {
  ort.env.wasm.numThreads = 1;
  ort.env.logLevel = "error";
  const [model, path] = process.argv.slice(2);
  const described = JSON.parse(fs.readFileSync(path));
  const session = await ort.InferenceSession.create(fs.readFileSync(model), {
    executionProviders: ["wasm"],
    extra: { session: { disable_quant_qdq: "1" } }, // dequantizes low-bit weights once
  });
  const run = described.sequence ? whole : looped;
  const spikes = [];
  for (const image of described.images) spikes.push(await run(session, Float32Array.from(image), described));
  fs.writeFileSync(1, JSON.stringify({ version: ort.env.versions.web ?? ort.env.versions.common, spikes }));
}

main().catch((error) => {
  console.error(String(error.message ?? error).split("\n")[0]);
  process.exit(1);
});
