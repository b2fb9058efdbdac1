"""Learning H(R) itself: labels of all configurations in one list of edges, least squares, the problem of the loop, errors."""
