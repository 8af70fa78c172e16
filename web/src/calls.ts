// The API as the pages use it: same origin, the session's cookie, problems as errors.

import type { Export, ExportRequest, Preview, Problem as Answer } from "./api";

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

let ask: (() => Promise<boolean>) | null = null;

/** `asking` lets a person sign in again; true when that is done. */
export function askToSignIn(asking: () => Promise<boolean>): void {
  ask = asking;
}

/** The answer of `send`; where the session has ended, the one after somebody signed in again. */
export async function signed(send: () => Promise<Response>): Promise<Response> {
  const answer = await send();
  const ended = answer.status === 401 && !new URL(answer.url).pathname.startsWith("/session");
  return ended && ask && (await ask()) ? send() : answer;
}

/** The answer's JSON, or null where there is none; Problem otherwise. */
export async function call<T>(method: string, path: string, body?: unknown, headers: HeadersInit = {}): Promise<T> {
  const answer = await asked(method, path, body, headers);
  return (answer.status === 204 ? null : await answer.json()) as T;
}

async function asked(method: string, path: string, body?: unknown, headers: HeadersInit = {}): Promise<Response> {
  const request: RequestInit = { method, headers: { "X-Requested-With": "fluxport", ...headers } };
  if (body !== undefined) request.body = JSON.stringify(body);
  let answer: Response;
  try {
    answer = await signed(() => fetch(path, request));
  } catch {
    throw new Problem(0, "unreachable", "The service cannot be reached; trying again.", null);
  }
  if (answer.ok) return answer;
  const retry = Number(answer.headers.get("Retry-After"));
  const told = (await answer.json().catch(() => ({}))) as Partial<Answer>;
  throw new Problem(
    answer.status,
    told.code ?? "http_error",
    told.detail ?? `The service answered ${answer.status}.`,
    retry > 0 ? retry : null,
  );
}

const NUMBER = "\u0000"; // begins a text that was a number

/** A preview with every number as the text that was sent: a number of JavaScript has 53 bits, ours have 128. */
export async function preview(body: ExportRequest): Promise<Preview> {
  const answer = await asked("POST", "/v1/preview", body);
  const exact = (await answer.text()).replace(/"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*/g, (token) =>
    token.startsWith('"') ? token : `"\\u0000${token}"`,
  );
  return JSON.parse(exact) as Preview;
}

/** A cell of a preview as people read it. */
export function shown(cell: unknown): string {
  if (typeof cell === "string") return cell.startsWith(NUMBER) ? cell.slice(1) : cell;
  if (typeof cell !== "object") return String(cell);
  return JSON.stringify(cell).replace(/"\\u0000([^"]*)"/g, "$1");
}

/** What a file is called: by its dataset and when it was made. */
export function filename(source: Source): string {
  return `${origin(source) ?? "query"}-{date}-{time}`;
}

/** The dataset or the sensors that the rows come from, if it is one of these. */
export function origin(source: Source): string | null {
  if ("dataset" in source) return source.dataset;
  return "sensor_id" in source ? String(source.sensor_id) : null;
}
