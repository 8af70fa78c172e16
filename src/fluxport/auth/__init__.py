"""Who is calling: signatures of requests, the cache that lets each one through once, and what a secret must be."""
