"""The network: its layers, neurons and surrogate gradients, without a time loop."""
