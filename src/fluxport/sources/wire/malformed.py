"""The error of decoding, in a separate module so that importing it loads nothing heavy."""


class Malformed(Exception):
    """A row does not match its column definitions."""
