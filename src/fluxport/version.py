"""The version, in a module of its own: the package's modules read it here without importing the whole package."""

__version__ = "0.1.0"
