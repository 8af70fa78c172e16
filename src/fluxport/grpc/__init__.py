"""The gRPC door: rows pushed by programs. ``export_pb2*.py`` are made from ``export.proto`` when the package is built.

``service.py`` speaks the protocol, ``metadata.py`` reads what is asked for, ``answers.py`` words what is answered,
``handover.py`` is the border between asyncio and the synchronous stream, ``server.py`` listens.
"""
