// One image presented to the network, step by step.

export class Trial {
  /** `readout`: what determines the class, "spikes" or "membrane"; `frame(t)`: the input at step t, from 0. */
  constructor(network, { steps, readout }, frame) {
    Object.assign(this, { network, steps, readout, frame });
    this.t = 0; // steps done
    this.states = network.start();
    this.spikes = this.membranes.map(({ length }) => new Uint8Array(length)); // of the last step
    this.totals = this.membranes.map(({ length }) => new Uint32Array(length)); // of all steps so far
    this.outputs = []; // the output of each step
    this.scores = new Float32Array(this.totals.at(-1).length); // their sum so far
    this.leader = null; // the class with the highest score, the lowest on ties; null: no output neuron has spiked yet
    this.since = null; // the step, from 1, since which it has led without interruption
  }

  get done() {
    return this.t === this.steps;
  }

  /** The membranes of every layer. */
  get membranes() {
    return this.network.membranes(this.states);
  }

  async step() {
    let output;
    [this.states, output, this.spikes] = await this.network.step(this.states, this.frame(this.t));
    this.t += 1;
    this.spikes.forEach((layer, i) => layer.forEach((spike, n) => (this.totals[i][n] += spike)));
    this.outputs.push(output);
    output.forEach((value, n) => (this.scores[n] = Math.fround(this.scores[n] + value)));
    const most = Math.max(...this.scores);
    const leader = most || this.readout === "membrane" ? this.scores.indexOf(most) : null;
    if (leader !== this.leader) [this.leader, this.since] = [leader, this.t];
  }
}
