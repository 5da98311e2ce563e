// The bundle's test images, as buttons.

import { paint } from "./pixels.js";
import { nameOf } from "./words.js";

export class Samples {
  /** `images`: the bytes of all images, concatenated; `taken(image)` is called when one is chosen. */
  constructor(element, facts, images, taken) {
    [this.channels, this.height, this.width] = facts.shape;
    Object.assign(this, { scale: facts.scale, taken });
    const size = images.length / facts.labels.length;
    this.images = facts.labels.map((_, i) => images.subarray(i * size, (i + 1) * size));
    this.buttons = facts.labels.map((label, i) => this.#button(nameOf(facts, label), i, facts));
    element.append(...this.buttons);
    element.classList.toggle("words", facts.classes.some((name) => name.length > 3));
    this.current = null;
  }

  #button(name, i, { frames, steps }) {
    const button = Object.assign(document.createElement("button"), { type: "button" });
    const canvas = document.createElement("canvas");
    this.paint(canvas, this.images[i], frames ? Math.floor(steps / 2) : 0);
    button.append(canvas, Object.assign(document.createElement("span"), { textContent: name }));
    button.setAttribute("aria-label", `Test image ${i + 1}: ${name}`);
    button.setAttribute("aria-pressed", "false");
    button.addEventListener("click", () => this.choose(i));
    return button;
  }

  /** Paints an image with one point per pixel. */
  paint(canvas, image, t = 0) {
    Object.assign(canvas, { width: this.width, height: this.height });
    paint(canvas, image, this, t);
  }

  choose(i) {
    this.mark(i);
    this.taken(this.images[i]);
  }

  next() {
    this.choose(((this.current ?? -1) + 1) % this.images.length);
  }

  /** Marks the image in the drawing area; null: none. */
  mark(i) {
    this.current = i;
    this.buttons.forEach((button, at) => button.setAttribute("aria-pressed", String(at === i)));
  }
}
