"""Stores addressed by a URL: ``s3://bucket/key``, or ``store://name/key`` for a store of the configuration."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from fluxport.errors import Refused
from fluxport.settings import adapter, refused
from fluxport.sinks import NAMED, options_class, type_at
from fluxport.sinks.object_options import ObjectOptions
from fluxport.sinks.options import SinkOptions


def at_url(
    url: str, stores: Mapping[str, SinkOptions], environ: Mapping[str, str] | None = None
) -> tuple[SinkOptions, str]:
    """The store and the key of a URL.

    The settings are those of the named store, or of a configured store with this bucket, preferably the default one;
    for any other bucket they come from the environment.
    """
    parts = urlsplit(url)
    kind, bucket, key = type_at(parts.scheme), parts.netloc, parts.path.lstrip("/")
    named = parts.scheme == NAMED
    if not (kind or named) or not bucket or not key or parts.query or parts.fragment:
        example = f"{NAMED}://name" if named else "s3://bucket"
        raise Refused(f"{url!r} is not of the form {example}/folder/file.csv.", code="bad_target")
    if named or kind is None:
        if bucket not in stores:
            choices = ", ".join(sorted(stores))
            raise Refused(f"Unknown store {bucket!r}; choose one of: {choices}.", code="unknown_store")
        return stores[bucket], key
    for entry in stores.values():
        if isinstance(entry, ObjectOptions) and (entry.type, entry.bucket) == (kind, bucket):
            return dataclasses.replace(entry, prefix=""), key
    return _unnamed(url, kind, bucket, stores["local"], os.environ if environ is None else environ), key


def _unnamed(url: str, kind: str, bucket: str, default: SinkOptions, environ: Mapping[str, str]) -> ObjectOptions:
    """A store that is not configured: its settings come from the environment, and from the default store if that has
    this type."""
    from pydantic import ValidationError

    cls = options_class(kind)
    settings: dict[str, Any] = {setting: environ[name] for name, setting in cls.environ.items() if environ.get(name)}
    if default.type == kind:
        settings |= {field.name: value for field in dataclasses.fields(default)
                  if (value := getattr(default, field.name)) != field.default}  # fmt: skip
    try:
        options = adapter(cls).validate_python(settings | {"type": kind, "bucket": bucket, "prefix": ""})
    except ValidationError as error:
        raise refused(error, lambda where: [field.name for field in dataclasses.fields(cls)],
                      f"The store of {url!r}") from None  # fmt: skip
    assert isinstance(options, ObjectOptions)
    return options
