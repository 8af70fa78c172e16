"""Clients of a running service: :class:`fluxport.Client` for threads, :class:`fluxport.AsyncClient` for asyncio.

``protocol`` holds their common part: the requests, and how to proceed after a failure. They differ in how a request is
sent.
"""
