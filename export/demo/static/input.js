// The network's input at each step, the same numbers as from Python's encoders (csnn_jax/data/batches.py).

/**
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
