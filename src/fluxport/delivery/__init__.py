"""Delivery of notifications: mail, webhooks, and uploads of the file.

Plain functions that send once: Unavailable means "retry later", Refused "never". The caller decides when and how often;
mails and webhooks carry an id that is the same in every attempt.
"""
