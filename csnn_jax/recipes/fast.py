"""MNIST in less than twice the default job's time: five time steps, 14 epochs of moved images, averaged weights.

python -m csnn_jax.train --recipe fast

8.4 minutes on two cores of an Intel Xeon, 99.24 % on the test images (mean of five seeds, standard deviation 0.08).
"""

from csnn_jax.config import Config, DataConfig, ModelConfig, TrainConfig

CONFIG = Config(
    ModelConfig(time_steps=5, surrogate="atan"),
    DataConfig(augment=(2.0, 10.0, 0.1)),
    TrainConfig(epochs=14, lr=0.005, schedule="cosine", init="calibrated", ema=0.999, eval_every=468),
)
