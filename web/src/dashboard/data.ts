/** What the dashboard asks of the service: sensors, points for the chart, files. */

import type { Chart, Problem, Sensor, SensorPage } from "../api";
import { signed } from "../calls";

export type { Sensor };
/** Columns of a range; `count` points stand behind them, `downsampled` when they are more than those here. */
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

/** Something that went wrong, in a sentence for people; `status` 0: the service did not answer at all. */
export class Failure extends Error {
  constructor(
    message: string,
    readonly status = 0,
    readonly code = "",
  ) {
    super(message);
  }
}

/** What people are shown of an error. */
export function sentence(error: unknown): string {
  if (error instanceof Failure) {
    return error.message;
  }
  return "Something in this page failed; load it again.";
}

export async function answer(path: string, signal?: AbortSignal): Promise<Response> {
  let response: Response;
  try {
    response = await signed(() => fetch(path, { signal: signal ?? null, credentials: "same-origin", cache: "no-store" }));
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Failure("The service cannot be reached; is it running?");
  }
  if (response.ok) return response;
  const told: Partial<Problem> = await response.json().catch(() => ({}));
  throw new Failure(told.detail ?? `The service answered ${response.status}.`, response.status, told.code);
}

const PAGE = 1000;

/** At most a thousand sensors that match; the search is the service's, so that there may be more. */
export async function sensors(search: string, signal?: AbortSignal): Promise<{ found: Sensor[]; more: boolean }> {
  const query = new URLSearchParams({ search, limit: String(PAGE) });
  const told: SensorPage = await (await answer(`/v1/sensors?${query}`, signal)).json();
  return { found: told.data, more: told.has_more };
}

export async function sensor(id: string, signal?: AbortSignal): Promise<Sensor> {
  return (await answer(`/v1/sensors/${path(id)}`, signal)).json();
}

export async function points(id: string, range: Range, most: number, signal?: AbortSignal): Promise<Points> {
  const query = new URLSearchParams({
    start_ts: String(range.start),
    end_ts: String(range.end),
    max_points: String(Math.max(4, Math.min(20_000, Math.round(most)))),
  });
  return (await answer(`/v1/sensors/${path(id)}/points?${query}`, signal)).json();
}

/** An id in a path: `/` separates its parts and stays. */
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
