"""Files as objects: the common part of every object store, over the few calls that each store implements
(:class:`Api`).

A file that fits the first part is stored by one request. Any other is a multipart upload: parts of PART_BYTES, several
in parallel, with bounded memory. The object becomes visible with the last call, which follows the last byte. A failure
before that aborts the upload and removes its parts, and raises the original error, never one of the cleanup. Every
object has a random mark in its metadata, so that a lost response is not mistaken for a failure, nor another writer's
object for ours:

    put:   one request                                              -> head: size, mark, digest
    parts: begin -> part 1 | part 2 | part 3 (parallel) -> complete -> head: size, mark, digest
             any error -> abort; delete the object if it is there and has our mark

The digests that the store reports for the stored bytes are compared with ours, for each request and for the whole
object (:class:`Claim`). An ETag that differs from our MD5 proves nothing, because it may not be an MD5: then the object
is read back.

Stores limit the number of parts. As an upload approaches PARTS_MAX, each part becomes a fixed fraction of the bytes
sent so far, so that 10,000 parts hold 5 TiB; only one such part is then in memory at a time.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing
from contextvars import copy_context
from functools import partial
from typing import NamedTuple, Protocol, TypeAlias

from fluxport.errors import Broken, Conflict, FluxportError, NotFound, Refused, StoreFull, Unavailable
from fluxport.outbound import Cancel
from fluxport.sinks._http import DAMAGED, Response
from fluxport.sinks._sums import Block, Claim, crc, differs, of_parts
from fluxport.sinks.object_options import ObjectOptions
from fluxport.stages import SIZE, VERIFIED, About, Chunks, Receipt, SignedUrl, weakest
from fluxport.telemetry import events

log = logging.getLogger("fluxport.stores")

READS_MAX = 5  # consecutive attempts to read that received no byte
READ_AGAIN_S = 0.05  # doubled with each further attempt
SHA256 = "sha256"
NOT_IMPLEMENTED = 501  # not transient, unlike other 5xx
MARK = "fluxport"  # metadata that identifies the put that created an object
NAME_BYTES_MAX = 900

Marks: TypeAlias = Mapping[str, str]


class Head(NamedTuple):
    """A store's description of an object; ``marks`` is its metadata, ``etag`` is verbatim."""

    size_bytes: int
    etag: str
    marks: Marks
    claim: Claim | None = None


class Part(NamedTuple):
    """An uploaded part: ``tag`` identifies it in ``complete``; ``digests`` are those of our bytes computed so far."""

    tag: str
    size_bytes: int
    digests: Mapping[str, bytes]
    verified: str = SIZE


class Unfinished(NamedTuple):
    """A multipart upload that is neither complete nor aborted; ``started`` is Unix time."""

    key: str
    upload: str
    started: float


class Api(Protocol):
    """The calls of one kind of store. Keys include the prefix; each call retries transient errors.

    ``put`` and ``complete`` raise Conflict if ``new`` and the key exists; ``get`` fails unless the object still has
    this ``etag``. ``marks`` are metadata: those of ``complete`` are known only at the end, and stored if the store can.
    A claim is the store's digest of the bytes of a request, or of the whole object; None if it reports none.
    """

    parts_max: int
    crc: str | None  # the name of the CRC that the store reports for whole objects
    etags_are_md5: bool  # false once an ETag turned out not to be an MD5

    def location(self, key: str) -> str:
        """The location of a key: ``s3://bucket/key``."""
        ...

    def put(self, key: str, block: Block, about: About, marks: Marks, *, new: bool) -> Claim | None: ...

    def begin(self, key: str, about: About, marks: Marks) -> str: ...

    def part(self, key: str, upload: str, number: int, block: Block, cancel: Cancel) -> tuple[str, Claim | None]: ...

    def complete(
        self, key: str, upload: str, parts: list[Part], about: About, marks: Marks, *, new: bool
    ) -> Claim | None: ...

    def abort(self, key: str, upload: str) -> None: ...

    def head(self, key: str) -> Head | None: ...

    def get(self, key: str, start: int, end: int, etag: str) -> Chunks: ...

    def delete(self, key: str) -> None: ...

    def unfinished(self, prefix: str) -> Iterator[Unfinished]: ...

    def older(self, prefix: str, before: float) -> Iterator[str]:
        """Keys of objects last written before this Unix time."""
        ...

    def url(self, key: str, expires_s: float, about: About | None) -> SignedUrl | None: ...


class ObjectSink:
    """The sink for one bucket."""

    def __init__(self, api: Api, options: ObjectOptions, *, overwrite: bool = False) -> None:
        self._api = api
        self._options = options
        self._overwrite = overwrite

    def put(self, name: str, chunks: Chunks, about: About | None = None) -> Receipt:
        """The receipt's location is a URL such as ``s3://bucket/key``.

        Conflict if the name exists and must not be overwritten, Refused if the store rejects the file or the
        credentials, StoreFull over a quota, Unavailable if the store fails or cannot be reached.
        """
        with closing(chunks):
            key = self._key(name)
            # Before anything is pulled, so that missing permissions are reported before a query runs.
            if self._api.head(key) is not None and not self._overwrite:
                raise exists(name)
            return _Put(self._api, self._options, key, about or About(), new=not self._overwrite).run(chunks)

    def open(self, location: str, start: int = 0, end: int | None = None) -> Chunks:
        """The bytes of the object at a receipt's location; reading resumes after a lost connection."""
        key = self._key(location)
        head = self._api.head(key)
        if head is None:
            raise NotFound("The file is no longer in the store; it may have expired.", code="no_such_file")
        yield from reading(self._api, key, head, start, end)

    def url(self, location: str, expires_s: float, about: About | None = None) -> SignedUrl | None:
        """A presigned URL for GET; it is valid no longer than the store and its credentials allow."""
        return self._api.url(self._key(location), expires_s, about)

    def remove(self, name: str) -> None:
        """Delete the object, and abort its unfinished uploads."""
        key = self._key(name)
        self._api.delete(key)
        for upload in self._api.unfinished(key):
            if upload.key == key:
                self._api.abort(key, upload.upload)

    def sweep(self, older_than_s: float, now: float) -> list[str]:
        """Delete expired objects below the prefix, and abort orphaned uploads."""
        deleted = []
        for key in self._api.older(self._options.prefix, now - older_than_s) if older_than_s < now else ():
            self._api.delete(key)
            deleted.append(self._api.location(key))
        for upload in self._api.unfinished(self._options.prefix):
            if upload.started < now - self._options.orphan_s:
                self._api.abort(upload.key, upload.upload)
                deleted.append(self._api.location(upload.key))
        return deleted

    def _key(self, name: str) -> str:
        """The key of a name, or of a location in this store."""
        root = self._api.location("")
        if name.startswith(root) and ".." not in name.split("/"):
            return name[len(root) :]
        parts = name.split("/")
        if any(part in ("", ".", "..") for part in parts) or not name.isprintable():
            raise Refused(f"{name!r} cannot be the name of a stored file.", code="bad_name")
        if "://" in name or len(name.encode()) > NAME_BYTES_MAX:
            raise Refused(f"{name!r} is not in this store.", code="bad_name")
        return self._options.prefix + name


def reading(api: Api, key: str, head: Head, start: int, end: int | None) -> Chunks:
    """The object's bytes; reading resumes after a lost connection."""
    end = head.size_bytes if end is None else min(end, head.size_bytes)
    broken = 0
    while start < end:
        try:
            with closing(api.get(key, start, end, head.etag)) as chunks:
                for chunk in chunks:
                    piece = chunk[: end - start]  # a response without a range has the whole object
                    start += len(piece)
                    broken = 0
                    yield piece
                    if start == end:
                        return
        except Unavailable:
            broken += 1
            if broken == READS_MAX:
                raise
            time.sleep(READ_AGAIN_S * 2**broken)


def check_range(host: str, response: Response, start: int) -> None:
    """The error for a response that is not the object's bytes from ``start`` on."""
    if response.status == 404:
        raise NotFound("The file is no longer in the store; it may have expired.", code="no_such_file")
    if response.status == 412:
        raise Broken("The file in the store was replaced while it was read.", code="store_differs")
    if response.status != 206 and not (response.status == 200 and start == 0):
        raise refused(host, response)


class _Put:
    """The upload of one file."""

    def __init__(self, api: Api, options: ObjectOptions, key: str, about: About, *, new: bool) -> None:
        self._api = api
        self._options = options
        self._new = new  # whether an existing object must not be replaced
        self._key = key
        self._about = about
        self._mark = secrets.token_hex(8)
        self._digest = hashlib.sha256()
        self._size = 0
        self._upload: str | None = None
        self._crc: bytes | None = None
        self._block: Block | None = None  # the whole file, if sent in one request
        self._parts: list[Part] = []
        self._claim: Claim | None = None  # of the whole object, from the last request's response
        self._doubt = False  # whether an ETag differed from the MD5
        self._sent = False  # whether the object may exist in the store

    def run(self, chunks: Chunks) -> Receipt:
        filled = _Blocks(chunks)
        try:
            first = filled.next(bytearray(self._options.part_bytes))
            self._add(first)
            if len(first) < self._options.part_bytes:
                self._put(first)
            else:
                self._put_parts(first, filled)
            verified = self._check()
        except BaseException:
            self._undo()
            raise
        return Receipt(self._api.location(self._key), self._size, self._digest.hexdigest(), verified)

    def _add(self, block: memoryview) -> None:
        self._digest.update(block)
        if self._api.crc is not None:
            self._crc = crc(self._api.crc, block, self._crc)
        self._size += len(block)

    def _put(self, data: memoryview) -> None:
        self._sent = True
        marks = {MARK: self._mark, SHA256: self._digest.hexdigest()}
        self._block = block = Block(data, {SHA256: self._digest.digest()})
        try:
            self._claim = self._api.put(self._key, block, self._about, marks, new=self._new)
        except FluxportError:
            if not self._stored_anyway():
                raise

    def _put_parts(self, first: memoryview, filled: _Blocks) -> None:
        self._upload = upload = self._api.begin(self._key, self._about, {MARK: self._mark})

        send, options = partial(self._send, upload), self._options
        with _Parts(send, options.parts_at_once, options.part_bytes) as parts:
            block = first
            while block:
                parts.add(block)
                buffer = parts.buffer(self._part_bytes())
                block = filled.next(buffer)
                self._add(block)
            self._parts = parts.all()
        self._sent = True
        marks = {MARK: self._mark, SHA256: self._digest.hexdigest()}
        try:
            self._claim = self._api.complete(self._key, upload, self._parts, self._about, marks, new=self._new)
        except FluxportError:
            if not self._stored_anyway():
                raise

    def _send(self, upload: str, number: int, data: memoryview, cancel: Cancel) -> Part:
        block = Block(data)
        tag, claim = self._api.part(self._key, upload, number, block, cancel)
        verified = SIZE if claim is None else self._compared(claim, block.digest(claim.name))
        events.emit("OSSPartUploaded", part=number, bytes=len(data))
        return Part(tag, len(data), block.digests, verified)

    def _part_bytes(self) -> int:
        """The size of the next part, given the bytes so far."""
        return part_bytes(self._size, self._options.part_bytes, self._api.parts_max)

    def _exists(self) -> bool:
        """Whether the object exists with this put's mark, whatever the response to its last request was."""
        head = self._api.head(self._key)
        return head is not None and head.marks.get(MARK) == self._mark

    def _stored_anyway(self) -> bool:
        """Whether a request that seems to have failed has stored the object; False if that cannot be determined."""
        try:
            return self._exists()
        except FluxportError:
            return False

    def _check(self) -> str:
        """Inspect the stored object; returns the name of the digest that verifies it."""
        head = self._api.head(self._key)
        if head is None or head.size_bytes != self._size:
            size = "none" if head is None else f"{head.size_bytes:,}"
            raise differs(f"The store holds {size} of the {self._size:,} bytes that were sent")
        verified = [self._confirmed(claim) for claim in (self._claim, head.claim) if claim is not None]
        if self._doubt:
            return self._read_back(head)
        return min(verified, key=VERIFIED.index, default=SIZE)

    def _confirmed(self, claim: Claim) -> str:
        """The name of the digest that verifies the whole object, if the store's claim is right."""
        if not claim.parts:
            return self._compared(claim, self._of_whole(claim.name))
        digests = [digest for part in self._parts if (digest := part.digests.get(claim.name))]
        ours = of_parts(claim.name, digests) if len(digests) == len(self._parts) else None
        return weakest([self._compared(claim, ours), *(part.verified for part in self._parts)])

    def _of_whole(self, name: str) -> bytes | None:
        """A digest of all bytes sent; None if it was not computed."""
        if name == SHA256:
            return self._digest.digest()
        if name == self._api.crc:
            return self._crc
        return None if self._block is None else self._block.digest(name)

    def _compared(self, claim: Claim, ours: bytes | None) -> str:
        """The claim's name if it is right, SIZE if it proves nothing; raises if it proves that the bytes differ."""
        if ours is None or not (claim.certain or self._api.etags_are_md5):
            return SIZE
        if claim.digest == ours:
            return claim.name
        if claim.certain:
            raise differs("The stored bytes differ from those that were sent")
        self._doubt = True
        return SIZE

    def _read_back(self, head: Head) -> str:
        """Compare the bytes themselves. If they match, this store's ETags are not MD5s and are ignored from then on."""
        digest = hashlib.sha256()
        with closing(reading(self._api, self._key, head, 0, None)) as chunks:
            for chunk in chunks:
                digest.update(chunk)
        if digest.digest() != self._digest.digest():
            raise differs("The stored bytes differ from those that were sent")
        self._api.etags_are_md5 = False
        log.warning("the ETags of %s are not MD5s: stored files are verified by size", self._api.location(""))
        return SHA256

    def _undo(self) -> None:
        """Abort the upload; delete the object if it was stored. A sweep removes what cannot be removed here."""
        try:
            if self._upload is not None:
                self._api.abort(self._key, self._upload)
            if self._sent and self._exists():
                self._api.delete(self._key)
        except FluxportError as error:
            log.warning("a failed upload could not be removed; a sweep will try again: %s", error.message)


def part_bytes(sent: int, least: int, parts_max: int) -> int:
    """The size of the next part after ``sent`` bytes: an object of 5 TiB has fewer than ``parts_max`` parts."""
    return max(least, sent * 7 // parts_max)


class _Blocks:
    """Chunks joined into blocks of exactly the size of the buffer for each; the last one is shorter."""

    def __init__(self, chunks: Chunks) -> None:
        self._chunks = chunks
        self._rest: memoryview = memoryview(b"")

    def next(self, buffer: bytearray | memoryview) -> memoryview:
        room = memoryview(buffer)
        filled = 0
        while filled < len(room):
            if not self._rest:
                chunk = next(self._chunks, None)
                if chunk is None:
                    break
                self._rest = memoryview(chunk).cast("B")
            taken = self._rest[: len(room) - filled]
            room[filled : filled + len(taken)] = taken
            filled += len(taken)
            self._rest = self._rest[len(taken) :]
        return room[:filled]


Send: TypeAlias = Callable[[int, memoryview, Cancel], Part]


class _Parts:
    """Uploads parts in threads; at most ``at_once`` parts of ``least`` bytes, or one larger one, are in memory.

    Leaving the block with an error cancels pending uploads at once.
    """

    def __init__(self, send: Send, at_once: int, least: int) -> None:
        self._send = send
        self._held_max = at_once * least
        self._cancel = Cancel()
        self._threads = ThreadPoolExecutor(at_once, thread_name_prefix="fluxport-part")
        self._changed = threading.Condition()
        self._filling = self._held = least  # the first block is already filled
        self._free: list[bytearray] = []
        self._sent: list[Future[Part]] = []
        self._failed: BaseException | None = None

    def __enter__(self) -> _Parts:
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        if kind is not None:
            self._cancel.set()
        self._threads.shutdown(wait=True, cancel_futures=True)

    def add(self, block: memoryview) -> None:
        """Send a block; its buffer must not change until it has been sent."""
        within = copy_context()  # the ids of log lines
        self._sent.append(self._threads.submit(within.run, self._one, len(self._sent) + 1, block, self._filling))

    def buffer(self, size: int) -> memoryview:
        """A buffer for the next part, once memory is free; raises the first error of a part."""
        with self._changed:
            while self._failed is None and self._held and self._held + size > self._held_max:
                self._changed.wait()
            self._raise()
            self._filling = size
            self._held += size
            free = self._free.pop() if self._free else bytearray()
        return memoryview(free if len(free) >= size else bytearray(size))[:size]

    def all(self) -> list[Part]:
        """All parts in order, once all have been sent."""
        wait(self._sent)
        self._raise()
        return [future.result() for future in self._sent]

    def _raise(self) -> None:
        if self._failed is not None:
            raise self._failed

    def _one(self, number: int, block: memoryview, held: int) -> Part:
        failed: BaseException | None = None
        try:
            return self._send(number, block, self._cancel)
        except BaseException as error:
            failed = error
            raise
        finally:
            with self._changed:
                self._failed = self._failed or failed
                self._held -= held
                assert isinstance(block.obj, bytearray)
                self._free.append(block.obj)
                self._changed.notify_all()


def exists(name: str) -> Conflict:
    return Conflict(f"A file named {name!r} exists already; choose another name.", code="file_exists")


_FULL = frozenset({"QuotaExceeded", "EntityTooLarge", "ServiceQuotaExceededException", "AccountBeingCreated"})


def refused(host: str, response: Response) -> FluxportError:
    """The error for a response with an unexpected status."""
    code = response.code()
    reason = f"{response.status} {code}".strip()
    if response.status == 507 or code in _FULL:
        return StoreFull(f"The store {host} has no space for the file ({reason}); free some or raise its quota.")
    if response.status in (401, 403):
        return Refused(
            f"The store {host} denied access with these credentials ({reason}); check the keys, their permissions and "
            "this machine's clock.",
            code="store_denied",
        )
    if response.status in (301, 307, 400) and "x-amz-bucket-region" in response.headers:
        region = response.headers["x-amz-bucket-region"]
        return Refused(f"The bucket is in another region ({region}): set the store's region.", code="wrong_region")
    if code in ("NoSuchBucket", "ContainerNotFound") or (response.status == 404 and not code):
        return Refused(
            f"The store {host} has no such bucket ({reason}); create it or correct the name.", code="no_bucket"
        )
    if response.status in (409, 412):
        return Conflict(f"The store {host} has another object with that name ({reason}).", code="file_exists")
    if code in DAMAGED:
        return Unavailable(f"Bytes sent to the store {host} were damaged ({reason}); try again.", code="store_differs")
    if response.status in (408, 429) or (response.status >= 500 and response.status != NOT_IMPLEMENTED):
        return Unavailable(f"The store {host} failed ({reason}); try again in a moment.", code="store_failed")
    return Refused(f"The store {host} rejected the request ({reason}).", code="store_refused")
