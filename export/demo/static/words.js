// The page's texts about a bundle. They are all set as text, never as HTML.

export function nameOf({ classes }, number) {
  return classes[number] ?? String(number);
}

export function described({ data, steps, layers, accuracy, split }) {
  const stack = layers.map(({ layer, shape }) => `${layer} ${shape.join("x")}`).join(", ");
  const right = accuracy == null ? "" : ` Its accuracy after training was ${(100 * accuracy).toFixed(2)}% on the ${split} images.`;
  return `Trained on ${data}, it runs in your browser with ${steps} time steps per image.${right} Layers: ${stack}.`;
}

/** The texts about the table of output neurons, by the ids of their elements. */
export function outputs({ readout, layers }) {
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

/** A class's score, for use in a sentence. */
export function scored({ readout }, score) {
  return readout === "spikes" ? `${score} spikes` : `a sum of ${score.toFixed(2)}`;
}

export function drawable({ frames, shape, encoding, meaning, data }) {
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

export function versions({ versions }) {
  const told = Object.entries(versions).map(([name, version]) => `${name} ${version}`);
  return `Made by ${told.join(", with ")} (MIT license). Your drawings never leave this page.`;
}
