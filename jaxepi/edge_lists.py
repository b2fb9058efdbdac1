"""Lists of edges on the host: sorted by their whole numbers, a row of edges an atom, the reverse of each."""

import math

import numpy as np


def rows(senders: np.ndarray, chosen: np.ndarray, n: int) -> np.ndarray:
    """Chosen edges (sorted by sender) that leave each atom, padded with the number of all edges: shape (n, most)."""
    edges = np.flatnonzero(chosen)
    counts = np.bincount(senders[edges], minlength=n)
    rows = np.full((n, max(int(counts.max()), 1)), len(senders), dtype=np.int32)
    first = np.repeat(np.cumsum(counts) - counts, counts)
    rows[senders[edges], np.arange(len(edges)) - first] = edges
    return rows


def reverse(i: np.ndarray, j: np.ndarray, s: np.ndarray) -> np.ndarray:
    """Place of (j, i, -s) in a list of edges (i, j, s), sorted by i, j and s in turn."""
    out = np.empty(len(i), np.int32)
    out[order(j, i, *-s.T)] = np.arange(len(i))
    return out


def order(*columns: np.ndarray) -> np.ndarray:
    """What sorts whole numbers by the first column, then the second, and so on: in one sort where 62 bits hold them all."""
    low = [int(column.min(initial=0)) for column in columns]
    widths = [int(column.max(initial=0)) - least + 1 for column, least in zip(columns, low, strict=True)]
    if math.prod(widths) > 1 << 62:
        return np.lexsort(columns[::-1])
    key = np.zeros(len(columns[0]), np.int64)
    for column, least, width in zip(columns, low, widths, strict=True):
        key = key * width + (column.astype(np.int64) - least)
    return np.argsort(key)
