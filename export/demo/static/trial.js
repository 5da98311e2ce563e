// One image presented to the network, step by step.

export class Trial {
  /** `frame(t)`: the input of step t, from 0. */
  constructor(network, steps, frame) {
    Object.assign(this, { network, steps, frame });
    this.t = 0; // steps done
    this.membranes = network.start();
    this.spikes = this.membranes.map(({ data }) => new Uint8Array(data.length)); // of the last step
    this.totals = this.membranes.map(({ data }) => new Uint32Array(data.length)); // of all steps so far
    this.fired = []; // output spikes of each step
    this.leader = null; // the class with the most output spikes, the lowest on ties; null: there was no spike yet
    this.since = null; // the step, from 1, from which it has led without a break
  }

  get done() {
    return this.t === this.steps;
  }

  /** Output spikes of every class so far. */
  get counts() {
    return this.totals.at(-1);
  }

  async step() {
    [this.membranes, this.spikes] = await this.network.step(this.membranes, this.frame(this.t));
    this.t += 1;
    this.spikes.forEach((layer, i) => layer.forEach((spike, n) => (this.totals[i][n] += spike)));
    this.fired.push(this.spikes.at(-1));
    const most = Math.max(...this.counts);
    const leader = most ? this.counts.indexOf(most) : null;
    if (leader !== this.leader) [this.leader, this.since] = [leader, this.t];
  }
}
