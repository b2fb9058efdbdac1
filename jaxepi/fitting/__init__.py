"""Parameters fitted to observables through the whole chain."""
