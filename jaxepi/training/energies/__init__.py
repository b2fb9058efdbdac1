"""Learning an energy: what potentials learn from, their losses and errors."""
