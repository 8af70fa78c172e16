"""Credentials from the AWS SDK's chain: profiles, single sign-on, web identity, containers, instance roles."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fluxport.errors import Refused, Unavailable
from fluxport.sinks._sigv4 import Credentials


def sdk_credentials(profile: str | None) -> Callable[[], Credentials]:
    """A function that returns the SDK's credentials; the SDK is loaded on first use and renews temporary ones."""
    loaded: list[Any] = []

    def current() -> Credentials:
        if not loaded:
            loaded.append(_load(profile))
        from botocore.exceptions import BotoCoreError

        try:
            frozen = loaded[0].get_frozen_credentials()
        except BotoCoreError as error:
            raise Unavailable(
                "The AWS credentials could not be renewed; check the role of this machine.",
                code="no_credentials",
                detail=str(error),
            ) from error
        # Not public, but the only way to find out how long a presigned URL is valid.
        expires = getattr(loaded[0], "_expiry_time", None)
        return Credentials(
            frozen.access_key, frozen.secret_key, frozen.token, None if expires is None else expires.timestamp()
        )

    return current


def _load(profile: str | None) -> Any:
    try:
        import botocore.session
        from botocore.exceptions import BotoCoreError
    except ImportError:
        raise Refused(
            "No access key is configured for the store, and other AWS credentials (profiles, roles, instance metadata) "
            "need the AWS SDK: pip install 'fluxport[aws]', or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.",
            code="missing_extra",
        ) from None
    try:
        credentials = botocore.session.Session(profile=profile).get_credentials()
    except BotoCoreError as error:
        raise Refused(f"The AWS credentials cannot be read: {error}.", code="no_credentials") from error
    if credentials is None:
        raise Refused(
            "There are no AWS credentials: set access_key_id and secret_access_key of the store, AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, or give this machine a role.",
            code="no_credentials",
        )
    return credentials
