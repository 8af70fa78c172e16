"""The gRPC API: rows pushed by programs. The build generates ``export_pb2*.py`` from ``export.proto``.

``service.py`` implements the calls, ``metadata.py`` parses requests, ``responses.py`` builds responses, ``writer.py``
sends as many of them as the client accepts (``answers.py``), ``handover.py`` connects asyncio to the synchronous
stream, ``server.py`` listens.
::

    event loop                                          worker thread
    context.read -> Handover (AHEAD_BYTES) -----------> PushedSource -> encoder -> sink
    ResponseWriter <- progress, once per PROGRESS_EVERY_S  |
                   <- result, or an error's status <-------'
"""
