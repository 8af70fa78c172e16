// The choice and the order of columns.
import type { DatasetColumn as Column } from "./api";

export type Choice = { column: Column; on: boolean };

export function Columns({ choices, set }: { choices: Choice[]; set: (choices: Choice[]) => void }) {
  const all = (on: boolean) => set(choices.map((choice) => ({ ...choice, on })));
  const toggle = (at: number) => set(choices.map((choice, i) => (i === at ? { ...choice, on: !choice.on } : choice)));
  const move = (at: number, by: number) => {
    const moved = [...choices];
    moved.splice(at + by, 0, ...moved.splice(at, 1));
    set(moved);
  };
  const chosen = choices.filter((choice) => choice.on).length;
  return (
    <fieldset>
      <legend>Columns</legend>
      <div class="row between">
        <span class="hint" aria-live="polite">{chosen} of {choices.length} chosen</span>
        <span class="row">
          <button type="button" class="small" onClick={() => all(true)}>All</button>
          <button type="button" class="small" onClick={() => all(false)}>None</button>
        </span>
      </div>
      <ul class="columns">
        {choices.map(({ column, on }, at) => (
          <li key={column.name}>
            <label>
              <input type="checkbox" checked={on} onChange={() => toggle(at)} />
              {column.label}
              <span class="hint">{column.type}</span>
            </label>
            <button type="button" aria-label={`Move ${column.label} up`} disabled={at === 0} onClick={() => move(at, -1)}>↑</button>
            <button type="button" aria-label={`Move ${column.label} down`} disabled={at === choices.length - 1} onClick={() => move(at, 1)}>↓</button>
          </li>
        ))}
      </ul>
    </fieldset>
  );
}
