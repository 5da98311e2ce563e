"""MNIST in less than twice the default job's time: five time steps, 14 epochs of augmented images, averaged weights.

python -m csnn_jax.train --recipe fast

9.3 minutes on two cores of an AMD EPYC (Zen 4) that wasn't idle; 99.19% on the test images (mean of three seeds,
standard deviation 0.08).
"""

from csnn_jax.config import Config, DataConfig, ModelConfig, TrainConfig

CONFIG = Config(
    ModelConfig(time_steps=5, surrogate="atan"),
    DataConfig(augment=(2.0, 10.0, 0.1)),
    TrainConfig(epochs=14, lr=0.005, schedule="cosine", init="calibrated", ema=0.999, eval_every=468),
)
