"""The one error of decoding, apart so that nothing heavy is imported for its name."""


class Malformed(Exception):
    """A row does not have the shape that its column definitions promise."""
