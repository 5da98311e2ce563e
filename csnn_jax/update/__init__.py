"""The network in training, in JAX: one jit per training step, the objective, the optimizer, the gradient."""
