"""The default job, in the style of snnTorch: 100 steps, one epoch, Adam at a constant learning rate.

python -m csnn_jax.train
"""

from csnn_jax.config import Config

CONFIG = Config()
