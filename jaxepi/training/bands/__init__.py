"""Learning a Hamiltonian from eigenvalues and blocks: groups, losses and errors."""
