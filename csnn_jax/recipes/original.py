"""The job of snnTorch's users: 100 steps, one epoch, Adam at a constant learning rate; what no flags stand for.

python -m csnn_jax.train
"""

from csnn_jax.config import Config

CONFIG = Config()
