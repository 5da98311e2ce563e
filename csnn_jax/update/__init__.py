"""Training in JAX: the jitted training step, the objective, the gradient and the optimizer."""
