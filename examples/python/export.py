#!/usr/bin/env python3
"""Export a query to a file and prove that it is complete. Python 3.9 or later, standard library only.

    export FLUXPORT_URL=http://127.0.0.1:8080 FLUXPORT_SECRET=...   # and FLUXPORT_KEY_ID unless it is "default"
    python3 export.py stream "SELECT * FROM users" users.csv     # POST /v1/stream: the response is the file
    python3 export.py export "SELECT * FROM users" users.xlsx    # POST /export: a job, polled, then downloaded
    python3 export.py --selftest ../signing_vectors.json         # check the signatures against the vectors

The file's suffix is the format. The file gets its name only if rows, bytes and SHA-256 match the service's.
"""

import base64
import hashlib
import hmac
import http.client
import json
import os
import secrets
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

BASE = os.environ.get("FLUXPORT_URL", "http://127.0.0.1:8080")
KEY_ID = os.environ.get("FLUXPORT_KEY_ID", "default")
SECRET = os.environ.get("FLUXPORT_SECRET", "")
SILENCE_S = 300  # the longest wait for the next byte


def hmac_hex(secret: str, message: bytes) -> str:
    return hmac.new(secret.encode(), message, hashlib.sha256).hexdigest()


def sign_v1(secret, method, target, body, timestamp):
    """FluxQuery's signature: METHOD + PATH + BODY + TIMESTAMP, the path without its query."""
    message = method.encode() + target.partition("?")[0].encode() + body + str(timestamp).encode()
    return {"X-Timestamp": str(timestamp), "X-Signature": hmac_hex(secret, message)}


def sign_v2(secret, method, target, body, timestamp, key_id, nonce):
    """Six lines, among them the query and the body's SHA-256; the nonce makes each request its own."""
    lines = ["v2", method, target, str(timestamp), nonce, hashlib.sha256(body).hexdigest()]
    signature = "v2=" + hmac_hex(secret, "\n".join(lines).encode())
    return {"X-Key-Id": key_id, "X-Timestamp": str(timestamp), "X-Nonce": nonce, "X-Signature": signature}


def call(version, method, target, data=None):
    """Send a signed request (``version`` "v1", "v2" or "" for none) and return the open response."""
    body = b"" if data is None else json.dumps(data).encode()
    headers = {"Content-Type": "application/json"} if body else {}
    if version == "v1":
        headers |= sign_v1(SECRET, method, target, body, int(time.time()))
    if version == "v2":
        headers |= sign_v2(SECRET, method, target, body, int(time.time()), KEY_ID, secrets.token_urlsafe(18))
    url = urllib.parse.urljoin(BASE, target)
    request = urllib.request.Request(url, data=body or None, headers=headers, method=method)
    try:
        return urllib.request.urlopen(request, timeout=SILENCE_S)
    except urllib.error.HTTPError as error:
        raise SystemExit(f"{method} {target}: {error.code} {error.read(500).decode(errors='replace')}") from None


def poll(version, target, done, failed):
    """Ask until the job's status is ``done``; the job object."""
    while True:
        with call(version, "GET", target) as answer:
            job = json.load(answer)
        if job["status"] == done:
            return job
        if job["status"] in failed:
            raise SystemExit(f"the export is {job['status']}: {json.dumps(job.get('error'))}")
        time.sleep(1)


def save(answer, path):
    """Write the body to ``path``; its bytes, SHA-256 and line ends outside quotes (a CSV's rows and header)."""
    digest, size, lines, quoted = hashlib.sha256(), 0, 0, False
    with answer, path.open("wb") as file:
        while chunk := answer.read(1 << 16):
            file.write(chunk)
            digest.update(chunk)
            size += len(chunk)
            parts = chunk.split(b'"')
            lines += sum(part.count(b"\n") for part in parts[quoted::2])
            quoted ^= len(parts) % 2 == 0
    return size, digest.hexdigest(), lines


def stream(query, path, part):
    answer = call("v2", "POST", "/v1/stream", {"source": {"query": query}, "format": path.suffix[1:]})
    target = f"/v1/exports/{answer.headers['X-Export-Id']}"
    saved = save(answer, part)
    job = poll("v2", target, "completed", ("failed", "canceled", "expired"))
    return saved, job["files"][0]


def export(query, path, part):
    with call("v1", "POST", "/export", {"query": query, "format": path.suffix[1:]}) as answer:
        job_id = json.load(answer)["job_id"]
    job = poll("v2", f"/jobs?id={job_id}", "COMPLETED", ("FAILED",))  # v1 signatures would be the same for every job
    return save(call("", "GET", job["download_url"]), part), job


def publish(part, path, saved, expected):
    """Give the file its name, if it matches the file the service stored."""
    size, sha256, lines = saved
    rows = lines - 1 if path.suffix == ".csv" else expected["rows"]
    if (rows, size, sha256) != (expected["rows"], expected["bytes"], expected["sha256"]):
        raise SystemExit(
            f"this is not the file the service stored: {rows} rows, {size} bytes, sha256 {sha256} arrived; "
            f"{expected['rows']} rows, {expected['bytes']} bytes, sha256 {expected['sha256']} were sent"
        )
    part.replace(path)
    print(f"{path}: {rows} rows, {size} bytes, sha256 {sha256}")


def selftest(path):
    vectors = json.loads(Path(path).read_text("utf-8"))
    for version, sign, more in (("v1", sign_v1, []), ("v2", sign_v2, ["key_id", "nonce"])):
        for v in vectors[version]:
            request = v["secret"], v["method"], v["target"], base64.b64decode(v["body_base64"]), v["timestamp"]
            if sign(*request, *(v[name] for name in more))["X-Signature"] != v["signature"]:
                raise SystemExit(f"{version} vector {v['name']!r} differs")
    print(f"{len(vectors['v1']) + len(vectors['v2'])} signatures agree")


def main(arguments):
    if len(arguments) == 2 and arguments[0] == "--selftest":
        return selftest(arguments[1])
    if len(arguments) != 3 or arguments[0] not in ("stream", "export") or not SECRET:
        print(__doc__, file=sys.stderr)
        raise SystemExit(2)
    command, query, path = arguments[0], arguments[1], Path(arguments[2])
    part = path.with_name(path.name + ".part")
    try:
        saved, expected = (stream if command == "stream" else export)(query, path, part)
        publish(part, path, saved, expected)
    except (OSError, http.client.HTTPException) as error:
        raise SystemExit(f"{command} failed: {error!r}") from None
    finally:
        part.unlink(missing_ok=True)


if __name__ == "__main__":
    main(sys.argv[1:])
