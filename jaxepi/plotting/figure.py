"""A figure that shows itself in notebooks, with or without pyplot. Imported when one is drawn, for it imports matplotlib."""

import io

from matplotlib.figure import Figure

NOTEBOOK_DPI = 110
"""Then 7 inches fill the width of a page."""


def png(figure: Figure) -> bytes:
    """A figure as the bytes of a PNG file, in the size that notebooks show."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=NOTEBOOK_DPI)
    return buffer.getvalue()


class Shown(Figure):
    """A figure on no display at all (nothing is registered with pyplot), which IPython asks for its picture."""

    def _repr_png_(self) -> bytes:
        return png(self)
