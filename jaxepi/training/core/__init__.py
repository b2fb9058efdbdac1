"""The training loop that every learner shares: steps, learning rates, optimisers, states and measures."""
