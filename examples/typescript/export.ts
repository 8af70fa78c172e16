/**
 * Export a query to a file and prove that it is complete. Node 20 or later, no dependency at run time.
 *
 *     npm ci && npm run build        # Node 22.18 and later run export.ts directly
 *     export FLUXPORT_URL=http://127.0.0.1:8080 FLUXPORT_SECRET=...        # and FLUXPORT_KEY_ID unless it is "default"
 *     node dist/export.js stream "SELECT * FROM users" users.csv     # POST /v1/stream: the response is the file
 *     node dist/export.js export "SELECT * FROM users" users.xlsx    # POST /export: a job, polled, then downloaded
 *     node dist/export.js --selftest ../signing_vectors.json         # check the signatures against the vectors
 *
 * The file's suffix is the format. The file gets its name only if rows, bytes and SHA-256 match the service's.
 */
import { createHash, randomUUID } from "node:crypto";
import { createWriteStream } from "node:fs";
import { rename, rm } from "node:fs/promises";
import { extname } from "node:path";
import { pipeline } from "node:stream/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { selftest, signV1, signV2 } from "./signing.ts";

const server = process.env.FLUXPORT_URL ?? "http://127.0.0.1:8080";
const keyId = process.env.FLUXPORT_KEY_ID ?? "default";
const secret = process.env.FLUXPORT_SECRET ?? "";

/** What identifies a finished file; `rows` is null where only the service can count them. */
interface Proof {
  rows: number | null;
  bytes: number;
  sha256: string;
}

/** A job as either API describes it: /jobs has the proof at the top, /v1/exports one in every file. */
interface Job extends Proof {
  status: string;
  error?: unknown;
  job_id: string;
  download_url: string;
  files: Proof[];
}

type Version = "v1" | "v2" | "unsigned";

function signedHeaders(version: Version, method: string, target: string, body: string): Record<string, string> {
  const now = Math.floor(Date.now() / 1000);
  if (version === "unsigned") return {};
  if (version === "v1") {
    return { "X-Timestamp": `${now}`, "X-Signature": signV1(secret, method, target, body, now) };
  }
  const nonce = randomUUID();
  const signature = signV2(secret, method, target, body, now, nonce);
  return { "X-Key-Id": keyId, "X-Timestamp": `${now}`, "X-Nonce": nonce, "X-Signature": signature };
}

async function call(version: Version, method: string, target: string, data?: unknown): Promise<Response> {
  const body = data === undefined ? "" : JSON.stringify(data);
  const headers = { "Content-Type": "application/json", ...signedHeaders(version, method, target, body) };
  const response = await fetch(new URL(target, server), { method, headers, body: body || undefined });
  if (!response.ok) {
    throw new Error(`${method} ${target}: ${response.status} ${(await response.text()).slice(0, 500)}`);
  }
  return response;
}

async function ask(version: Version, method: string, target: string, data?: unknown): Promise<Job> {
  return (await (await call(version, method, target, data)).json()) as Job;
}

/** Poll until the export has ended. */
async function poll(version: Version, target: string): Promise<Job> {
  for (;;) {
    const job = await ask(version, "GET", target);
    const status = job.status.toLowerCase();
    if (status === "completed") return job;
    if (!["queued", "running", "pending", "processing"].includes(status)) {
      throw new Error(`the export is ${status}: ${JSON.stringify(job.error)}`);
    }
    await sleep(1000);
  }
}

/** Write the body to `part` and return its proof. A CSV has as many rows as line ends outside quotes, less the header. */
async function save(response: Response, part: string, format: string): Promise<Proof> {
  const digest = createHash("sha256");
  let bytes = 0;
  let lines = 0;
  let quoted = false;
  async function* watched(chunks: AsyncIterable<Uint8Array>) {
    for await (const chunk of chunks) {
      digest.update(chunk);
      bytes += chunk.length;
      for (const byte of chunk) {
        if (byte === 0x22) quoted = !quoted;
        else if (byte === 0x0a && !quoted) lines++;
      }
      yield chunk;
    }
  }
  if (response.body === null) throw new Error("the response has no body");
  await pipeline(response.body, watched, createWriteStream(part));
  return { rows: format === "csv" ? lines - 1 : null, bytes, sha256: digest.digest("hex") };
}

type Transfer = (query: string, format: string, part: string) => Promise<{ got: Proof; expected: Proof | undefined }>;

const transfers: Record<string, Transfer> = {
  async stream(query, format, part) {
    const response = await call("v2", "POST", "/v1/stream", { source: { query }, format });
    const got = await save(response, part, format);
    const job = await poll("v2", `/v1/exports/${response.headers.get("X-Export-Id")}`);
    return { got, expected: job.files[0] };
  },
  async export(query, format, part) {
    const { job_id } = await ask("v1", "POST", "/export", { query, format });
    const expected = await poll("v2", `/jobs?id=${job_id}`); // v1 signatures would be the same for every job
    const response = await call("unsigned", "GET", expected.download_url); // the link includes its token
    return { got: await save(response, part, format), expected };
  },
};

/** Fetch the result and give the file its name, if it matches the file the service stored. */
async function run(transfer: Transfer, query: string, path: string): Promise<string> {
  const part = `${path}.part`;
  try {
    const { got, expected } = await transfer(query, extname(path).slice(1), part);
    const text = (proof: Proof) => `${proof.rows ?? expected?.rows} rows, ${proof.bytes} bytes, sha256 ${proof.sha256}`;
    if (expected === undefined || text(got) !== text(expected)) {
      throw new Error(`this is not the file the service stored: ${text(got)} arrived; ${expected && text(expected)} sent`);
    }
    await rename(part, path);
    return `${path}: ${text(got)}`;
  } finally {
    await rm(part, { force: true });
  }
}

const [command = "", first = "", path = ""] = process.argv.slice(2);
const transfer = transfers[command];
try {
  if (command === "--selftest" && first) {
    console.log(`${selftest(first)} signatures agree`);
  } else if (transfer && first && path && secret) {
    console.log(await run(transfer, first, path));
  } else {
    console.error("usage: FLUXPORT_SECRET=... node export.js stream|export QUERY FILE  or  --selftest VECTORS");
    process.exitCode = 2;
  }
} catch (error) {
  console.error(error instanceof Error ? [error.message, error.cause].filter(Boolean).join(": ") : error);
  process.exitCode = 1;
}
