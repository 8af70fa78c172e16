/** The dashboard's requests: sensors, points for the chart, files. */

import type { Chart, Problem, Sensor, SensorPage } from "../api";
import { signed } from "../calls";

export type { Sensor };
/** The columns of a range of `count` points; `downsampled` if the columns hold fewer. */
export type Points = Chart;

/** Milliseconds since 1970, both included. */
export interface Range {
  start: number;
  end: number;
}

export interface Options {
  layout: "long" | "wide";
  aggregate: "" | "avg" | "min" | "max" | "first" | "last";
  interval: string;
  time: "ms" | "datetime";
}

/** An error with a message for people; `status` is 0 if the service did not respond. */
export class Failure extends Error {
  constructor(
    message: string,
    readonly status = 0,
    readonly code = "",
  ) {
    super(message);
  }
}

/** The message that the page shows for an error. */
export function sentence(error: unknown): string {
  if (error instanceof Failure) {
    return error.message;
  }
  return "This page failed; reload it.";
}

export async function get(path: string, signal?: AbortSignal): Promise<Response> {
  let response: Response;
  try {
    response = await signed(() => fetch(path, { signal: signal ?? null, credentials: "same-origin", cache: "no-store" }));
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Failure("The service cannot be reached; is it running?");
  }
  if (response.ok) return response;
  const problem: Partial<Problem> = await response.json().catch(() => ({}));
  throw new Failure(problem.detail ?? `The service responded with status ${response.status}.`, response.status, problem.code);
}

const PAGE = 1000;

/** At most a thousand matching sensors; `more` if the service has further ones. */
export async function sensors(search: string, signal?: AbortSignal): Promise<{ matches: Sensor[]; more: boolean }> {
  const query = new URLSearchParams({ search, limit: String(PAGE) });
  const page: SensorPage = await (await get(`/v1/sensors?${query}`, signal)).json();
  return { matches: page.data, more: page.has_more };
}

export async function sensor(id: string, signal?: AbortSignal): Promise<Sensor> {
  return (await get(`/v1/sensors/${path(id)}`, signal)).json();
}

export async function points(id: string, range: Range, most: number, signal?: AbortSignal): Promise<Points> {
  const query = new URLSearchParams({
    start_ts: String(range.start),
    end_ts: String(range.end),
    max_points: String(Math.max(4, Math.min(20_000, Math.round(most)))),
  });
  return (await get(`/v1/sensors/${path(id)}/points?${query}`, signal)).json();
}

/** An id as a path; the slashes in it are not encoded. */
function path(id: string): string {
  return id.split("/").map(encodeURIComponent).join("/");
}

export function exportPath(ids: string[], range: Range, format: "csv" | "xlsx", options: Options): string {
  const query = new URLSearchParams(ids.map((id) => ["sensor_id", id]));
  query.append("start_ts", String(range.start));
  query.append("end_ts", String(range.end));
  query.append("format", format);
  if (ids.length > 1 && options.layout === "wide") query.append("layout", "wide");
  if (options.aggregate) {
    query.append("aggregate", options.aggregate);
    query.append("interval", options.interval);
  }
  if (options.time === "datetime") query.append("time", "datetime");
  return `/api/v1/export?${query}`;
}
