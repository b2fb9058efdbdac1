"""What a script does with input that cannot be used: one line on stderr, and exit status 2."""

import functools
import sys
from collections.abc import Callable
from typing import ParamSpec

from jaxepi.errors import InputError

P = ParamSpec("P")


def refusing(main: Callable[P, int]) -> Callable[P, int]:
    """The command line `main`, with `InputError` printed instead of raised."""

    @functools.wraps(main)
    def wrapped(*arguments: P.args, **options: P.kwargs) -> int:
        try:
            return main(*arguments, **options)
        except InputError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2

    return wrapped
