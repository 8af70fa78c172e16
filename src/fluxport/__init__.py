"""Fluxport: rows from where they are, as the file somebody asked for, brought to where it is needed."""

__version__ = "0.1.0"
