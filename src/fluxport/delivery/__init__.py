"""Telling somebody that a file is there, or that there is none: mail and webhooks.

Plain functions that send once: Unavailable means "try again later", Refused "never". When and how often is decided by
who calls them; what they send carries an id that stays the same however often it is sent.
"""
