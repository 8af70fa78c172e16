"""Authentication: signed requests and their replay store, bearer keys, users and sessions, scopes, secrets, proxies."""
