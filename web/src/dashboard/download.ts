/** Download a file and save it only when all of it has arrived: a partial file is never saved. */

import { get, Failure } from "./data";

/** Chunks are moved into a Blob, which the browser may store on disk, when they reach this size. */
const BLOB_BYTES = 32 << 20;

export interface Progress {
  bytes: number;
  /** Lines after the header; null if the format has no lines. */
  rows: number | null;
}

export async function download(
  path: string,
  onProgress: (progress: Progress) => void,
  signal: AbortSignal,
): Promise<{ name: string; progress: Progress }> {
  const response = await get(path, signal);
  const name = fileName(response.headers.get("content-disposition"));
  const type = response.headers.get("content-type") ?? "";
  const lines = type.startsWith("text/csv");
  const progress: Progress = { bytes: 0, rows: lines ? -1 : null };
  const blobs: Blob[] = [];
  let held: Uint8Array<ArrayBuffer>[] = [];
  let heldBytes = 0;
  const reader = response.body!.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      held.push(value);
      heldBytes += value.length;
      progress.bytes += value.length;
      if (progress.rows !== null) progress.rows += newlines(value);
      if (heldBytes >= BLOB_BYTES) {
        blobs.push(new Blob(held));
        held = [];
        heldBytes = 0;
      }
      onProgress({ ...progress, rows: progress.rows === null ? null : Math.max(0, progress.rows) });
    }
  } catch (error) {
    if (signal.aborted) throw error;
    throw new Failure(`The connection broke after ${size(progress.bytes)}; nothing was saved. Try again.`);
  }
  save(new Blob([...blobs, ...held], { type }), name);
  return { name, progress };
}

function newlines(chunk: Uint8Array): number {
  let count = 0;
  for (let at = chunk.indexOf(10); at !== -1; at = chunk.indexOf(10, at + 1)) count++;
  return count;
}

function save(file: Blob, name: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(file);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** The UTF-8 name in Content-Disposition (RFC 6266). */
export function fileName(header: string | null): string {
  const match = /filename\*=UTF-8''([^;]+)/.exec(header ?? "");
  return match ? decodeURIComponent(match[1]!) : "export";
}

export function size(bytes: number): string {
  if (bytes < 1000) return `${bytes} bytes`;
  if (bytes < 1_000_000) return `${(bytes / 1000).toFixed(1)} kB`;
  return `${(bytes / 1_000_000).toFixed(1)} MB`;
}
