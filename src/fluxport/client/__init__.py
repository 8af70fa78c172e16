"""Clients of a running service: :class:`fluxport.Client` for threads, :class:`fluxport.AsyncClient` for asyncio.

What they ask, and how they go on after a failure, is in ``protocol`` once for both; they differ in how a request is
sent.
"""
