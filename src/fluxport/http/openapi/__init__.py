"""What ``/openapi.json`` says of the API: models of every body, and a table of what each operation takes and answers.

Nothing here takes part in answering a request, and nothing is imported before the document is first requested: parsers
give the errors that clients know, and no answer is validated once more on its way out. Tests hold both against this
description instead: every answer that a test sees is validated, and models and parsers are given the same bodies.
"""
