"""Databases whose driver has Python's DB-API: rows of Python objects, one module here per driver."""
