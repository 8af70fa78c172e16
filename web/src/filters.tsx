// The typed filters of a dataset as form fields; their values are the strings that the API accepts.
import { useId, useState } from "preact/hooks";
import type { Filter } from "./api";
import { instant } from "./zones";

export type Values = Record<string, string>;
const EMPTY = "is_empty";
const OPERATORS: Record<string, string> = {
  equals: "is", "not.equals": "is not",
  contains: "contains", "not.contains": "does not contain",
  starts_with: "starts with", "not.starts_with": "does not start with",
};

type Props = { filter: Filter; values: Values; set: (param: string, value: string) => void };

export function FilterFields({ filter, values, set }: Props) {
  const field = (param: string, extra: object = {}) => ({
    name: param,
    value: values[param] ?? "",
    onInput: (event: Event) => set(param, (event.currentTarget as HTMLInputElement).value),
    ...extra,
  });
  const emptiness = filter.operators.includes(EMPTY) && (
    <label>
      {labelOf(filter.name)}
      <select {...field(`${filter.name}.${EMPTY}`)}>
        <option value="">Any</option>
        <option value="true">is empty</option>
        <option value="false">is not empty</option>
      </select>
    </label>
  );
  const [first, last] = filter.params as [string, string];
  switch (filter.type) {
    case "date_range":
      return (
        <div class="range">
          {[first, last].map((param, at) => <DayAndTime key={param} filter={filter} param={param} time={at ? "End time" : "Start time"} value={values[param] ?? ""} set={set} />)}
          <p class="hint">
            Whole days in {filter.zone ?? "UTC"}, both included.{filter.instants && " With a time, the range starts or ends at exactly that time."}
          </p>
          {emptiness}
        </div>
      );
    case "number_range":
      return (
        <div class="range">
          <label>{labelOf(first)}<input inputMode="decimal" {...field(first)} /></label>
          <label>{labelOf(last)}<input inputMode="decimal" {...field(last)} /></label>
          {emptiness}
        </div>
      );
    case "limit":
      return <label>Row limit<input type="number" min="1" max={filter.max} {...field(first)} /></label>;
    default:
      return <Compared filter={filter} values={values} set={set} />;
  }
}

/** A choice of a filter's operator: the key of its value, and the value itself if the operator needs no other. */
type Operator = { label: string; key: string; value?: string };

function operators({ name, params, type, match, operators }: Filter): Operator[] {
  const own = type === "text" ? match ?? "equals" : "";
  const others = operators.filter((operator) => operator in OPERATORS && operator !== own);
  const [is, isNot] = type === "any_of" ? ["is any of", "is none of"] : ["is", "is not"];
  return [
    { label: OPERATORS[own] ?? is!, key: params[0]! },
    ...(own ? [] : [{ label: isNot!, key: `${name}.not` }]),
    ...others.map((operator) => ({ label: OPERATORS[operator]!, key: `${name}.${operator}` })),
    ...(operators.includes(EMPTY) ? [true, false].map((empty) => (
      { label: empty ? "is empty" : "is not empty", key: `${name}.${EMPTY}`, value: String(empty) }
    )) : []),
  ];
}

/** A value and the operator that compares it. */
function Compared({ filter, values, set }: Props) {
  const id = useId();
  const known = operators(filter);
  const [at, setAt] = useState(0);
  const { key, value: fixed } = known[at]!;
  const label = labelOf(filter.params[0]!);
  const field = {
    id, name: key, disabled: fixed !== undefined, value: fixed === undefined ? values[key] ?? "" : "",
    onInput: (event: Event) => set(key, (event.currentTarget as HTMLInputElement).value),
  };
  const change = (to: number) => {
    const next = known[to]!;
    if (next.key !== key) set(key, "");
    set(next.key, next.value ?? (fixed === undefined ? values[key] ?? "" : ""));
    setAt(to);
  };
  return (
    <div class="compared">
      <label id={`${id}-label`} for={id}>{label}</label>
      <select aria-label="Operator" aria-describedby={`${id}-label`} value={at} onChange={(e) => change(Number(e.currentTarget.value))}>
        {known.map(({ label }, number) => <option key={label} value={number}>{label}</option>)}
      </select>
      {filter.type === "one_of" ? (
        <select {...field}>
          <option value="">Any</option>
          {filter.values!.map((value) => <option key={value}>{value}</option>)}
        </select>
      ) : filter.type === "any_of" ? <textarea rows={2} placeholder="one on each line" {...field} /> : <input {...field} />}
    </div>
  );
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
  const several = filters.filter((filter) => filter.type === "any_of");
  const lists = new Set(several.flatMap((filter) => [...filter.params, `${filter.name}.not`]));
  const filled = Object.entries(values).filter(([, value]) => value.trim());
  return Object.fromEntries(filled.map(([param, value]) => [param, lists.has(param) ? lines(value) : value]));
}

function lines(text: string): string[] {
  return text.split("\n").map((line) => line.trim()).filter(Boolean);
}

/** `dateFrom` as "Date from". */
export function labelOf(name: string): string {
  const spaced = name.replace(/[_.]/g, " ").replace(/([a-z])([A-Z])/g, "$1 $2").toLowerCase();
  return spaced.charAt(0).toUpperCase() + spaced.slice(1);
}
