// The pages' client of the API: same origin, the session cookie, problem responses as errors.

import type { Export, ExportRequest, Preview, Problem as ProblemBody } from "./api";

/** Where the rows of an export come from. */
export type Source = Export["source"];

export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly retryAfterS: number | null,
  ) {
    super(message);
  }
}

let signInAgain: (() => Promise<boolean>) | null = null;

/** `prompt` is called when the session has ended; it resolves to whether the user signed in again. */
export function promptSignIn(prompt: () => Promise<boolean>): void {
  signInAgain = prompt;
}

/** The response to `send`; if the session has ended, that of a retry after the user signed in again. */
export async function signed(send: () => Promise<Response>): Promise<Response> {
  const response = await send();
  const ended = response.status === 401 && !new URL(response.url).pathname.startsWith("/session");
  return ended && signInAgain && (await signInAgain()) ? send() : response;
}

/** The response's JSON, or null if it has no body; throws Problem for an error. */
export async function call<T>(method: string, path: string, body?: unknown, headers: HeadersInit = {}): Promise<T> {
  const response = await send(method, path, body, headers);
  return (response.status === 204 ? null : await response.json()) as T;
}

async function send(method: string, path: string, body?: unknown, headers: HeadersInit = {}): Promise<Response> {
  const request: RequestInit = { method, headers: { "X-Requested-With": "fluxport", ...headers } };
  if (body !== undefined) request.body = JSON.stringify(body);
  let response: Response;
  try {
    response = await signed(() => fetch(path, request));
  } catch {
    throw new Problem(0, "unreachable", "The service cannot be reached.", null);
  }
  if (response.ok) return response;
  const retry = Number(response.headers.get("Retry-After"));
  const problem = (await response.json().catch(() => ({}))) as Partial<ProblemBody>;
  throw new Problem(
    response.status,
    problem.code ?? "http_error",
    problem.detail ?? `The service responded with status ${response.status}.`,
    retry > 0 ? retry : null,
  );
}

const NUMBER = "\u0000"; // prefix of a string that was a number

/** A preview with every number as its exact text: numbers in JavaScript have 53 bits, ours have up to 128. */
export async function preview(body: ExportRequest): Promise<Preview> {
  const response = await send("POST", "/v1/preview", body);
  const exact = (await response.text()).replace(/"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*/g, (token) =>
    token.startsWith('"') ? token : `"\\u0000${token}"`,
  );
  return JSON.parse(exact) as Preview;
}

/** A cell of a preview as display text. */
export function shown(cell: unknown): string {
  if (typeof cell === "string") return cell.startsWith(NUMBER) ? cell.slice(1) : cell;
  if (typeof cell !== "object") return String(cell);
  return JSON.stringify(cell).replace(/"\\u0000([^"]*)"/g, "$1");
}

/** The default file name: the dataset or sensor, and the time. */
export function filename(source: Source): string {
  return `${origin(source) ?? "query"}-{date}-{time}`;
}

/** The dataset or the sensors of the source; null for other sources. */
export function origin(source: Source): string | null {
  if ("dataset" in source) return source.dataset;
  return "sensor_id" in source ? String(source.sensor_id) : null;
}
