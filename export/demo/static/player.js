// Plays a trial at a given speed, never running two steps at once.

export class Player {
  /** `changed()` is called after every step and when playing starts or stops. */
  constructor(changed) {
    this.changed = changed;
    this.trial = null;
    this.speed = 1; // steps per second
    this.run = null; // identifies the current playback; null: paused
    this.busy = false; // whether a step is being computed
  }

  get playing() {
    return this.run !== null;
  }

  /** Switches to a new trial, paused at its start. */
  show(trial) {
    this.trial = trial;
    this.pause();
  }

  pause() {
    this.run = null;
    this.changed();
  }

  async step() {
    const { trial } = this;
    if (this.busy || trial.done) return;
    this.busy = true;
    try {
      await trial.step();
    } finally {
      this.busy = false;
    }
    if (trial !== this.trial) return;
    if (trial.done) this.run = null;
    this.changed();
  }

  async play() {
    if (this.playing || this.trial.done) return;
    const run = (this.run = {});
    this.changed();
    let due = performance.now();
    while (this.run === run) {
      due = Math.max(due + 1000 / this.speed, performance.now());
      await this.step();
      await new Promise((done) => setTimeout(done, due - performance.now()));
    }
  }
}
