"""The one exception for input that cannot be used. Its message names the value and the remedy."""


class InputError(ValueError):
    """Input that jaxepi refuses; the command line prints the message and exits with status 2."""
