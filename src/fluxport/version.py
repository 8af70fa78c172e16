"""The version, in a separate module: the package's modules read it here without importing the whole package."""

__version__ = "0.1.0"
