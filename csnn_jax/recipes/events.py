"""Event-camera recordings: the default stack with ten time steps, five epochs and averaged weights.

python -m csnn_jax.train --recipe events

Trains on simulated recordings; use `--dataset nmnist:DIR` or `events:DIR` for real ones.

Results are in docs/results.md.
"""

from csnn_jax.config import Config, DataConfig, ModelConfig, TrainConfig

CONFIG = Config(
    ModelConfig(time_steps=10, surrogate="atan"),
    DataConfig(dataset="saccades"),
    TrainConfig(
        epochs=5,
        lr=0.005,
        schedule="cosine",
        init="calibrated",
        ema=0.999,
        eval_every=0,
        checkpoint_every=468,
    ),
)
