"""The error of decoding, in a module of its own so that importing it loads nothing heavy."""


class Malformed(Exception):
    """A row does not match its column definitions."""
