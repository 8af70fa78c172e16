// The typed filters of a dataset as form fields; their values are the strings that the API accepts.
import type { Filter } from "./api";
import { instant } from "./zones";

export type Values = Record<string, string>;
const MATCHES = { equals: "exactly", contains: "contains", starts_with: "starts with" };

type Props = { filter: Filter; values: Values; set: (param: string, value: string) => void };

export function FilterFields({ filter, values, set }: Props) {
  const field = (param: string, extra: object = {}) => ({
    name: param,
    value: values[param] ?? "",
    onInput: (event: Event) => set(param, (event.currentTarget as HTMLInputElement).value),
    ...extra,
  });
  const [first, last] = filter.params as [string, string];
  switch (filter.type) {
    case "date_range":
      return (
        <div class="range">
          {[first, last].map((param, at) => <DayAndTime key={param} filter={filter} param={param} time={at ? "End time" : "Start time"} value={values[param] ?? ""} set={set} />)}
          <p class="hint">
            Whole days in {filter.zone ?? "UTC"}, both included.{filter.instants && " With a time, the range starts or ends at exactly that time."}
          </p>
        </div>
      );
    case "number_range":
      return (
        <div class="range">
          <label>{labelOf(first)}<input inputMode="decimal" {...field(first)} /></label>
          <label>{labelOf(last)}<input inputMode="decimal" {...field(last)} /></label>
        </div>
      );
    case "one_of":
      return (
        <label>
          {labelOf(first)}
          <select {...field(first)}>
            <option value="">Any</option>
            {filter.values!.map((value) => <option key={value}>{value}</option>)}
          </select>
        </label>
      );
    case "any_of":
      return <label class="wide">{labelOf(first)}<textarea rows={2} placeholder="any of these, one on each line" {...field(first)} /></label>;
    case "limit":
      return <label>Row limit<input type="number" min="1" max={filter.max} {...field(first)} /></label>;
    case "text":
      return (
        <label>
          {labelOf(first)}
          <input placeholder={MATCHES[filter.match ?? "equals"]} {...field(first)} />
        </label>
      );
  }
}

type DayAndTimeProps = { filter: Filter; param: string; time: string; value: string; set: Props["set"] };

/** A day, and a time of day if the filter accepts instants; without a time, the value is the day. */
function DayAndTime({ filter, param, time, value, set }: DayAndTimeProps) {
  const [day, hour] = [value.slice(0, 10), value.slice(11, 19)];
  const zone = filter.zone ?? "UTC";
  const put = (day: string, hour: string) => set(param, day && hour ? instant(day, hour, zone) : day);
  return (
    <div class="moment">
      <label>{labelOf(param)}<input type="date" name={param} value={day} onInput={(e) => put(e.currentTarget.value, hour)} /></label>
      {filter.instants && (
        <input
          type="time" aria-label={`${time}, in ${zone}`} title={`${time}, in ${zone}`} disabled={!day} value={hour}
          onChange={(e) => put(day, e.currentTarget.value)}
        />
      )}
    </div>
  );
}

/** The values for the API: empty ones are omitted, those of a filter for several values are lists. */
export function filterValues(filters: Filter[], values: Values): Record<string, string | string[]> {
  const lists = new Set(filters.filter((filter) => filter.type === "any_of").flatMap((filter) => filter.params));
  const filled = Object.entries(values).filter(([, value]) => value.trim());
  return Object.fromEntries(filled.map(([param, value]) => [param, lists.has(param) ? lines(value) : value]));
}

function lines(text: string): string[] {
  return text.split("\n").map((line) => line.trim()).filter(Boolean);
}

/** `dateFrom` as "Date from". */
export function labelOf(name: string): string {
  const spaced = name.replace(/_/g, " ").replace(/([a-z])([A-Z])/g, "$1 $2").toLowerCase();
  return spaced.charAt(0).toUpperCase() + spaced.slice(1);
}
