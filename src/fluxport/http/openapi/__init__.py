"""The document ``/openapi.json``: models of every body, and a table of the inputs and responses of each operation.

Nothing here runs while other requests are handled, and nothing is imported before the document is first requested: the
parsers raise the errors that clients know, and responses are not validated again. Instead, tests check both against
this description: they validate every response they receive, and give models and parsers the same bodies.
"""
