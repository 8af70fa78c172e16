"""Files as objects: what is the same for every object store, over the few calls that each has in its own form.

A file that ends within its first part is stored by one request. Any other is a multipart upload: parts of PART_BYTES,
several on their way at once, so many bytes held and no more. Nothing is visible before the last call, which is made
after the last byte; whatever fails before ends the upload and removes its parts, and the first cause is the error that
goes up, never what cleaning up said. Every object carries a mark, so that an answer that was lost on its way is not
taken for a failure, nor somebody else's object for ours.

What the store answers of the bytes that it has taken is compared with ours, request by request and for the whole
object (:class:`Claim`). An ETag that is not the MD5 that it seems to be proves nothing: then the object is read back.

Parts have numbers, and stores take only so many: once PARTS_MAX would be in danger each part is a seventh of that part
of what has gone before, so that 10,000 parts hold 5 TiB; one such part is then held at a time.
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
from functools import partial
from typing import NamedTuple, Protocol, TypeAlias

from fluxport.errors import Conflict, FluxportError, NotFound, Refused, StoreFull, Unavailable
from fluxport.outbound import Cancel
from fluxport.sinks._http import DAMAGED, Answer
from fluxport.sinks._sums import Block, Claim, crc, differs, of_parts
from fluxport.sinks.object_options import ObjectOptions
from fluxport.stages import SIZE, VERIFIED, About, Chunks, Receipt, SignedUrl, weakest

log = logging.getLogger("fluxport.stores")

READS_MAX = 5  # tries of reading on without a byte
READ_AGAIN_S = 0.05  # doubled with each further try
SHA256 = "sha256"
NOT_IMPLEMENTED = 501  # time does not mend that
MARK = "fluxport"  # metadata: which put an object comes from
NAME_BYTES_MAX = 900

Marks: TypeAlias = Mapping[str, str]


class Head(NamedTuple):
    """What a store tells of an object; ``marks`` is its metadata, ``etag`` as the store writes it."""

    size_bytes: int
    etag: str
    marks: Marks
    claim: Claim | None = None


class Part(NamedTuple):
    """A part that the store has taken: its ``tag`` names it at the end; ``digests`` are ours, as far as computed."""

    tag: str
    size_bytes: int
    digests: Mapping[str, bytes]
    verified: str = SIZE


class Unfinished(NamedTuple):
    """A multipart upload that has neither ended nor been given up; ``started`` is Unix time."""

    key: str
    upload: str
    started: float


class Api(Protocol):
    """The calls of one kind of store. Keys are whole; each call tries again what time mends.

    ``put`` and ``complete`` raise Conflict if ``new`` and the key is taken; ``get`` reads from an object that has still
    this ``etag``. ``marks`` are metadata: those of ``complete`` are known only at the end, and kept where a store can.
    A claim is what the store says of the bytes of a request, or of the whole object; None where it says nothing.
    """

    parts_max: int
    crc: str | None  # the name of the CRC that the store tells of whole objects
    etags_tell: bool  # false once an ETag was found to be no MD5

    def place(self, key: str) -> str:
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
    """A sink over one bucket."""

    def __init__(self, api: Api, options: ObjectOptions, *, overwrite: bool = False) -> None:
        self._api = api
        self._options = options
        self._overwrite = overwrite

    def put(self, name: str, chunks: Chunks, about: About | None = None) -> Receipt:
        """The receipt's location is a URL such as ``s3://bucket/key``.

        Conflict if the name is taken and may not be overwritten, Refused if the store does not take the file or the
        credentials, StoreFull over a quota, Unavailable if the store fails or cannot be reached.
        """
        with closing(chunks):
            key = self._key(name)
            # Whoever may not write there is told before anything is pulled, and so before a query runs.
            if self._api.head(key) is not None and not self._overwrite:
                raise exists(name)
            return _Put(self._api, self._options, key, about or About(), new=not self._overwrite).run(chunks)

    def open(self, location: str, start: int = 0, end: int | None = None) -> Chunks:
        """The bytes of the object at a receipt's location; reading goes on where a connection broke off."""
        key = self._key(location)
        head = self._api.head(key)
        if head is None:
            raise NotFound("The file is no longer in the store; it may have expired.", code="no_such_file")
        yield from reading(self._api, key, head, start, end)

    def url(self, location: str, expires_s: float, about: About | None = None) -> SignedUrl | None:
        """A signed URL for GET; it works no longer than the store and its credentials allow."""
        return self._api.url(self._key(location), expires_s, about)

    def remove(self, name: str) -> None:
        """Delete the object, and whatever uploads of it were never finished."""
        key = self._key(name)
        self._api.delete(key)
        for found in self._api.unfinished(key):
            if found.key == key:
                self._api.abort(key, found.upload)

    def sweep(self, older_than_s: float, now: float) -> list[str]:
        """Delete objects below the prefix that are old enough, and end uploads of processes that must be dead."""
        deleted = []
        for key in self._api.older(self._options.prefix, now - older_than_s) if older_than_s < now else ():
            self._api.delete(key)
            deleted.append(self._api.place(key))
        for found in self._api.unfinished(self._options.prefix):
            if found.started < now - self._options.orphan_s:
                self._api.abort(found.key, found.upload)
                deleted.append(self._api.place(found.key))
        return deleted

    def _key(self, name: str) -> str:
        """The key of a name, or of a location of this store."""
        root = self._api.place("")
        if name.startswith(root):
            return name[len(root) :]
        parts = name.split("/")
        if any(part in ("", ".", "..") for part in parts) or not name.isprintable():
            raise Refused(f"{name!r} cannot be the name of a stored file.", code="bad_name")
        if "://" in name or len(name.encode()) > NAME_BYTES_MAX:
            raise Refused(f"{name!r} is not in this store.", code="bad_name")
        return self._options.prefix + name


def reading(api: Api, key: str, head: Head, start: int, end: int | None) -> Chunks:
    """The object's bytes; reading goes on where a connection broke off."""
    end = head.size_bytes if end is None else min(end, head.size_bytes)
    broken = 0
    while start < end:
        try:
            with closing(api.get(key, start, end, head.etag)) as chunks:
                for chunk in chunks:
                    start += len(chunk)
                    broken = 0
                    yield chunk
        except Unavailable:
            broken += 1
            if broken == READS_MAX:
                raise
            time.sleep(READ_AGAIN_S * 2**broken)


class _Put:
    """One file on its way into the store."""

    def __init__(self, api: Api, options: ObjectOptions, key: str, about: About, *, new: bool) -> None:
        self._api = api
        self._options = options
        self._new = new  # whether nothing may be replaced
        self._key = key
        self._about = about
        self._mark = secrets.token_hex(8)
        self._digest = hashlib.sha256()
        self._size = 0
        self._upload: str | None = None
        self._crc: bytes | None = None
        self._block: Block | None = None  # all of it, in one request
        self._parts: list[Part] = []
        self._claim: Claim | None = None  # what the last request's answer says of the whole object
        self._doubt = False  # whether an ETag was another than the MD5
        self._sent = False  # whether anything may have come to be in the store

    def run(self, chunks: Chunks) -> Receipt:
        filled = _Blocks(chunks)
        try:
            first = filled.next(bytearray(self._options.part_bytes))
            self._took(first)
            if len(first) < self._options.part_bytes:
                self._put(first)
            else:
                self._put_parts(first, filled)
            verified = self._check()
        except BaseException:
            self._undo()
            raise
        return Receipt(self._api.place(self._key), self._size, self._digest.hexdigest(), verified)

    def _took(self, block: memoryview) -> None:
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
            if not self._came():
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
                self._took(block)
            self._parts = parts.all()
        self._sent = True
        marks = {MARK: self._mark, SHA256: self._digest.hexdigest()}
        try:
            self._claim = self._api.complete(self._key, upload, self._parts, self._about, marks, new=self._new)
        except FluxportError:
            if not self._came():
                raise

    def _send(self, upload: str, number: int, data: memoryview, cancel: Cancel) -> Part:
        block = Block(data)
        tag, claim = self._api.part(self._key, upload, number, block, cancel)
        verified = SIZE if claim is None else self._compared(claim, block.digest(claim.name))
        return Part(tag, len(data), block.digests, verified)

    def _part_bytes(self) -> int:
        """The size of the next part, after all that has been taken."""
        return part_bytes(self._size, self._options.part_bytes, self._api.parts_max)

    def _is_there(self) -> bool:
        """Whether the object is there and this put's own, whatever the answer to its last request was."""
        head = self._api.head(self._key)
        return head is not None and head.marks.get(MARK) == self._mark

    def _came(self) -> bool:
        """The same, after a request that seems to have failed: what is not known now is no."""
        try:
            return self._is_there()
        except FluxportError:
            return False

    def _check(self) -> str:
        """Look at it again; the name of the digest by which the store says that it is all there."""
        head = self._api.head(self._key)
        if head is None or head.size_bytes != self._size:
            size = "none" if head is None else f"{head.size_bytes:,}"
            raise differs(f"The store holds {size} of the {self._size:,} bytes that it was sent")
        verified = [self._confirmed(claim) for claim in (self._claim, head.claim) if claim is not None]
        if self._doubt:
            return self._read_back(head)
        return min(verified, key=VERIFIED.index, default=SIZE)

    def _confirmed(self, claim: Claim) -> str:
        """By which digest the whole object is the one that was sent, if that is what the store says of it."""
        if not claim.parts:
            return self._compared(claim, self._of_whole(claim.name))
        digests = [found for part in self._parts if (found := part.digests.get(claim.name))]
        ours = of_parts(claim.name, digests) if len(digests) == len(self._parts) else None
        return weakest([self._compared(claim, ours), *(part.verified for part in self._parts)])

    def _of_whole(self, name: str) -> bytes | None:
        """A digest of all that was sent; None for one that nobody has computed."""
        if name == SHA256:
            return self._digest.digest()
        if name == self._api.crc:
            return self._crc
        return None if self._block is None else self._block.digest(name)

    def _compared(self, claim: Claim, ours: bytes | None) -> str:
        """The claim's name if it is right, SIZE if it says nothing; raises if it shows that the bytes are others."""
        if ours is None or not (claim.certain or self._api.etags_tell):
            return SIZE
        if claim.digest == ours:
            return claim.name
        if claim.certain:
            raise differs("The store holds other bytes than it was sent")
        self._doubt = True
        return SIZE

    def _read_back(self, head: Head) -> str:
        """Look at the bytes themselves, once: a store whose ETags are no MD5s is not measured by them again."""
        digest = hashlib.sha256()
        with closing(reading(self._api, self._key, head, 0, None)) as chunks:
            for chunk in chunks:
                digest.update(chunk)
        if digest.digest() != self._digest.digest():
            raise differs("The store holds other bytes than it was sent")
        self._api.etags_tell = False
        log.warning("the ETags of %s are no MD5s: what it holds is compared by size", self._api.place(""))
        return SHA256

    def _undo(self) -> None:
        """End the upload; remove the object, should it have come to be. What fails here is left to a sweep."""
        try:
            if self._upload is not None:
                self._api.abort(self._key, self._upload)
            if self._sent and self._is_there():
                self._api.delete(self._key)
        except FluxportError as error:
            log.warning("what is left of a failed upload waits for a sweep: %s", error.message)


def part_bytes(sent: int, least: int, parts_max: int) -> int:
    """How large the next part is after ``sent`` bytes: an object of 5 TiB takes fewer than ``parts_max`` parts."""
    return max(least, sent * 7 // parts_max)


class _Blocks:
    """Chunks joined to blocks of exactly the size of the buffer that each is read into; the last one is shorter."""

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
    """Parts on their way in threads; what is held is at most ``at_once`` parts of ``least`` bytes, or one larger one.

    Leaving the block with an error ends what is still on its way at once.
    """

    def __init__(self, send: Send, at_once: int, least: int) -> None:
        self._send = send
        self._held_max = at_once * least
        self._cancel = Cancel()
        self._threads = ThreadPoolExecutor(at_once, thread_name_prefix="fluxport-part")
        self._changed = threading.Condition()
        self._filling = self._held = least  # the first block is filled already
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
        """Send a block; its buffer is the sender's until it has gone."""
        self._sent.append(self._threads.submit(self._one, len(self._sent) + 1, block, self._filling))

    def buffer(self, size: int) -> memoryview:
        """Room for the next part, once there is some; raises the first error of a part that could not be sent."""
        with self._changed:
            while self._failed is None and self._held and self._held + size > self._held_max:
                self._changed.wait()
            self._raise()
            self._filling = size
            self._held += size
            free = self._free.pop() if self._free else bytearray()
        return memoryview(free if len(free) >= size else bytearray(size))[:size]

    def all(self) -> list[Part]:
        """What the store answered to each part, in order, once all have been sent."""
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


def refused(host: str, answer: Answer) -> FluxportError:
    """The error of an answer that is none of the expected ones."""
    code = answer.code()
    told = f"{answer.status} {code}".strip()
    if answer.status == 507 or code in _FULL:
        return StoreFull(f"The store {host} has no room for the file ({told}); free some or raise its quota.")
    if answer.status in (401, 403):
        return Refused(
            f"The store {host} does not let these credentials do that ({told}); check the keys, what they may do, and "
            "this machine's clock.",
            code="store_denied",
        )
    if answer.status in (301, 307, 400) and "x-amz-bucket-region" in answer.headers:
        region = answer.headers["x-amz-bucket-region"]
        return Refused(f"The bucket is in another region ({region}): set the store's region.", code="wrong_region")
    if code in ("NoSuchBucket", "ContainerNotFound") or (answer.status == 404 and not code):
        return Refused(f"The store {host} has no such bucket ({told}); make it, or mend its name.", code="no_bucket")
    if answer.status in (409, 412):
        return Conflict(f"The store {host} has another object there ({told}).", code="file_exists")
    if code in DAMAGED:
        return Unavailable(f"Bytes changed on their way to the store {host} ({told}); try again.", code="store_differs")
    if answer.status in (408, 429) or (answer.status >= 500 and answer.status != NOT_IMPLEMENTED):
        return Unavailable(f"The store {host} fails ({told}); try again in a moment.", code="store_failed")
    return Refused(f"The store {host} does not take the request ({told}).", code="store_refused")
