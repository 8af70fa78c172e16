/** Time ranges, as numbers and as values of an input. */

import type { Range } from "./data";

export const SECOND = 1000;
export const MINUTE = 60 * SECOND;
export const HOUR = 60 * MINUTE;
export const DAY = 24 * HOUR;

export const PRESETS: { label: string; span: number | null }[] = [
  { label: "15 min", span: 15 * MINUTE },
  { label: "1 h", span: HOUR },
  { label: "6 h", span: 6 * HOUR },
  { label: "24 h", span: DAY },
  { label: "7 d", span: 7 * DAY },
  { label: "All", span: null },
];

/** The whole milliseconds inside a dragged range, in order. */
export function whole(a: number, b: number): Range {
  return { start: Math.ceil(Math.min(a, b)), end: Math.floor(Math.max(a, b)) };
}

export function span(range: Range): number {
  return range.end - range.start;
}

/** `factor` < 1 zooms in; the time `around` stays in place. */
export function zoomed(range: Range, factor: number, around: number = (range.start + range.end) / 2): Range {
  const least = 10;
  const scale = Math.max(factor, least / Math.max(span(range), 1));
  return {
    start: Math.round(around - (around - range.start) * scale),
    end: Math.round(around + (range.end - around) * scale),
  };
}

export function moved(range: Range, part: number): Range {
  const by = Math.round(span(range) * part);
  return { start: range.start + by, end: range.end + by };
}

/** The local time in the format of `datetime-local`, to the millisecond. */
export function toInput(ms: number): string {
  const local = new Date(ms - new Date(ms).getTimezoneOffset() * MINUTE);
  return local.toISOString().slice(0, 23);
}

/** The timestamp of such a value, or null. */
export function fromInput(text: string): number | null {
  const ms = new Date(text).getTime();
  return Number.isFinite(ms) ? ms : null;
}

const FORMAT = new Intl.DateTimeFormat(undefined, {
  year: "numeric",
  month: "short",
  day: "2-digit",
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  fractionalSecondDigits: 3,
});

export function moment(ms: number): string {
  return FORMAT.format(ms);
}

export function duration(ms: number): string {
  const parts: [number, string][] = [
    [DAY, "d"],
    [HOUR, "h"],
    [MINUTE, "min"],
    [SECOND, "s"],
    [1, "ms"],
  ];
  const text: string[] = [];
  let rest = ms;
  for (const [unit, name] of parts) {
    const count = Math.floor(rest / unit);
    rest -= count * unit;
    if (count) text.push(`${count} ${name}`);
    if (text.length === 2) break;
  }
  return text.join(" ") || "0 ms";
}
