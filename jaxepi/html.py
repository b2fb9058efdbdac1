"""How results show themselves in notebooks: small tables, curves and pictures as HTML that needs no script and no server."""

import base64
import html
from collections.abc import Iterable
from typing import Any

import numpy as np

_CELL = "text-align:left;padding:1px 12px 1px 0"


def table(title: str, rows: Iterable[tuple[str, Any]]) -> str:
    """Names and values under a title."""
    lines = "".join(
        f'<tr><td style="{_CELL}">{html.escape(name)}</td><td style="{_CELL}">{html.escape(str(value))}</td></tr>'
        for name, value in rows
    )
    return f"<div><b>{html.escape(title)}</b><table>{lines}</table></div>"


def picture(png: bytes) -> str:
    """A PNG file in the page."""
    return f'<img src="data:image/png;base64,{base64.b64encode(png).decode()}" style="max-width:700px"/>'


def curve(x: Any, y: Any, across: str, up: str, decades: int = 6) -> str:
    """A curve of positive values on a logarithmic axis of so many decades, as SVG; nothing where there is nothing to draw."""
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    good = np.isfinite(y) & (y > 0)
    if good.sum() < 2:
        return ""
    top = float(np.ceil(np.log10(y[good].max())))
    height, width = 150.0, 360.0
    rise = np.clip(np.log10(y[good]) - (top - decades), 0, decades) / decades
    run = (x[good] - x[0]) / (x[-1] - x[0] or 1.0)
    points = " ".join(f"{60 + width * a:.1f},{10 + height * (1 - b):.1f}" for a, b in zip(run, rise, strict=True))
    frame = f'<rect x="60" y="10" width="{width:g}" height="{height:g}" fill="none" stroke="#999"/>'
    line = f'<polyline points="{points}" fill="none" stroke="#20407f" stroke-width="1.5"/>'

    def label(left: int, below: int, words: str, anchor: str) -> str:
        return f'<text x="{left}" y="{below}" font-size="11" fill="#666" text-anchor="{anchor}">{html.escape(words)}</text>'

    labels = label(55, 18, f"1e{top:.0f}", "end") + label(55, 160, f"1e{top - decades:.0f}", "end")
    labels += label(60, 175, f"{x[0]:g}", "middle") + label(420, 175, f"{x[-1]:g}", "middle")
    labels += label(240, 175, f"{up} against {across}", "middle")
    return f'<svg width="440" height="182" xmlns="http://www.w3.org/2000/svg">{frame}{line}{labels}</svg>'
