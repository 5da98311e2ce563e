// What the page says of a bundle. All of it is set as text, never as HTML.

export function nameOf({ classes }, number) {
  return classes[number] ?? String(number);
}

export function described({ data, steps, layers, accuracy, split }) {
  const stack = layers.map(({ layer, shape }) => `${layer} ${shape.join("x")}`).join(", ");
  const right = accuracy == null ? "" : ` After training it had ${(100 * accuracy).toFixed(2)}\u00a0% of the ${split} images right.`;
  return `It was trained on ${data}, and runs in your browser, ${steps} time steps for each image.${right} Layers: ${stack}.`;
}

/** The texts about the table of the output neurons, by the ids of their elements. */
export function outputs({ readout, layers }) {
  const line = "The line across the membranes is the threshold.";
  if (readout === "spikes") {
    const over = "the upper strip marks the steps with a spike, and the thin bar below it grows with their count";
    const answer = "The class with the most spikes is the answer, the lowest one on ties.";
    return { over: "Spikes over time", score: "Count", note: `${line} A neuron above it spikes. Over time, ${over}. ${answer}` };
  }
  const neurons = layers.at(-1).threshold === null ? "These neurons never spike." : line;
  const over = "the upper strip shows the membrane of every step, and the thin bar below it their sum";
  const answer = "The class with the largest sum is the answer, the lowest one on ties.";
  return { over: "Over time", score: "Sum", note: `${neurons} Over time, ${over}. ${answer}` };
}

/** A score of a class in a sentence. */
export function scored({ readout }, score) {
  return readout === "spikes" ? `${score} spikes` : `a sum of ${score.toFixed(2)}`;
}

export function drawable({ frames, shape, encoding, meaning, data }) {
  const [channels, height, width] = shape;
  if (frames) return "This network is fed frames of events over time, which a drawing can't give.";
  if (channels !== 1 && channels !== 3) return `This network is fed ${channels} channels, of which a drawing has one.`;
  const shown = encoding === "direct" ? "" : ` Here ${meaning}.`;
  const honest =
    data === "mnist"
      ? "A mouse is no pen: expect more errors than on test images."
      : "It learnt from other pictures: it may not know what you draw.";
  return `What the network is shown: ${height} x ${width} pixels, scaled and centered as in MNIST. ${honest}${shown}`;
}

export function versions({ versions }) {
  const told = Object.entries(versions).map(([name, version]) => `${name} ${version}`);
  return `Made by ${told.join(", with ")} (MIT licence). Nothing that you draw leaves this page.`;
}
