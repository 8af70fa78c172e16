import { createHash, createHmac } from "node:crypto";
import { readFileSync } from "node:fs";

/** FluxQuery's signature: METHOD + PATH + BODY + TIMESTAMP, the path without its query. */
export function signV1(
  secret: string,
  method: string,
  target: string,
  body: string | Buffer,
  timestamp: number,
): string {
  const path = target.split("?", 1)[0];
  return createHmac("sha256", secret).update(`${method}${path}`).update(body).update(`${timestamp}`).digest("hex");
}

/** Six lines, among them the query and the body's SHA-256; the nonce makes each request its own. */
export function signV2(
  secret: string,
  method: string,
  target: string,
  body: string | Buffer,
  timestamp: number,
  nonce: string,
): string {
  const digest = createHash("sha256").update(body).digest("hex");
  const lines = ["v2", method, target, timestamp, nonce, digest].join("\n");
  return `v2=${createHmac("sha256", secret).update(lines).digest("hex")}`;
}

interface Vector {
  name: string;
  secret: string;
  method: string;
  target: string;
  timestamp: number;
  nonce: string;
  body_base64: string;
  signature: string;
}

/** Check both signatures against the vectors of the service's own tests; returns how many agree. */
export function selftest(path: URL | string): number {
  const vectors: { v1: Vector[]; v2: Vector[] } = JSON.parse(readFileSync(path, "utf-8"));
  for (const [version, sign] of [["v1", signV1], ["v2", signV2]] as const) {
    for (const v of vectors[version]) {
      const body = Buffer.from(v.body_base64, "base64");
      if (sign(v.secret, v.method, v.target, body, v.timestamp, v.nonce) !== v.signature) {
        throw new Error(`${version} vector '${v.name}' differs`);
      }
    }
  }
  return vectors.v1.length + vectors.v2.length;
}
