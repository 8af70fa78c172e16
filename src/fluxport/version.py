"""The version, which the package's own modules read here: the package itself names all of them."""

__version__ = "0.1.0"
