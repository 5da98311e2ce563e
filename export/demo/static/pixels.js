// Small images on canvases: one point for each value, enlarged by whole numbers.

/**
 * Paints bytes [C * H * W] (or those of frame `t`) on a canvas: in color if there are three channels, otherwise the sum
 * of the channels in gray.
 */
export function paint(canvas, bytes, { channels, height, width, scale }, t = 0) {
  const size = channels * height * width;
  const frame = bytes.length > size ? bytes.subarray(t * size, (t + 1) * size) : bytes;
  const value = (channel, i) => (frame[channel * height * width + i] * 255) / scale;
  const all = Array.from({ length: channels }, (_, channel) => channel);
  const colour = (i) => {
    if (channels === 3) return all.map((channel) => value(channel, i));
    const sum = all.reduce((total, channel) => total + value(channel, i), 0);
    return [sum, sum, sum];
  };
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = false;
  context.drawImage(pointwise(height, width, colour), 0, 0, canvas.width, canvas.height);
}

/** A canvas [height, width] with the color [red, green, blue] of every point; null: transparent. */
export function pointwise(height, width, colour) {
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  for (let i = 0; i < height * width; i++) {
    const found = colour(i);
    if (found) image.data.set([...found, 255], 4 * i);
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

/** [red, green, blue] of a custom CSS property of the page, which must have the form #rrggbb. */
export function colourOf(name) {
  const text = getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  return [1, 3, 5].map((at) => parseInt(text.slice(at, at + 2), 16));
}

export function mixed(from, to, share) {
  return from.map((value, i) => value + (to[i] - value) * share);
}
