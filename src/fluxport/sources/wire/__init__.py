"""Shared by the sources that read a server's protocol from its socket: the receive buffer, its messages, blocks of
whole rows in it, and their cells as Arrow arrays. Nothing here knows a protocol."""
