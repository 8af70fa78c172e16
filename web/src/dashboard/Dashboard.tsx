import { useCallback, useEffect, useMemo, useState } from "preact/hooks";

import { Chart, type Trend } from "./Chart";
import { type Points, points, type Range, sentence, type Sensor, sensor, sensors } from "./data";
import { Exporting } from "./Exporting";
import { DAY, HOUR, moment, PRESETS, span } from "./range";

/** The number of lines that can be distinguished. */
const CHOSEN_MAX = 8;
const LIVE_EVERY_MS = 2000;
const TYPED_MS = 200;

export function Dashboard() {
  const dark = useDark();
  const [chosen, setChosen] = useState<string[]>(() => fromHash().chosen);
  const [view, setView] = useState<Range | null>(() => fromHash().view);
  const [selection, setSelection] = useState<Range | null>(null);
  const [live, setLive] = useState(false);
  const { trends, failure, busy } = useTrends(chosen, view, live, setView);
  const [hover, setHover] = useState<number | null>(null);

  useEffect(() => toHash(chosen, view), [chosen, view]);

  const show = useCallback((next: Range) => {
    setLive(false);
    setView(next);
  }, []);
  const all = useCallback(() => {
    const extent = extentOf(trends.map((trend) => trend.sensor));
    if (extent) show(extent);
  }, [trends, show]);
  const preset = (length: number | null) => {
    if (length === null) return all();
    const last = extentOf(trends.map((trend) => trend.sensor))?.end ?? Date.now();
    const end = live ? Date.now() : last;
    setView({ start: end - length, end });
  };
  const toggle = ({ id, last_ms }: Sensor) => {
    setChosen((ids) => (ids.includes(id) ? ids.filter((other) => other !== id) : [...ids, id]));
    if (view === null && last_ms !== null) setView({ start: last_ms - DAY, end: last_ms });
  };
  const colored = trends.map((trend, number) => ({ ...trend, color: `var(--trend-${number + 1})` }));
  const painted = useColors(colored, dark);
  const count = trends.reduce((sum, trend) => sum + trend.points.count, 0);
  const summary = !view
    ? "Trend chart"
    : `Trend chart of ${trends.map((t) => t.sensor.name).join(", ") || "nothing"}, ${moment(view.start)} to ` +
      `${moment(view.end)}, ${count.toLocaleString()} points`;

  return (
    <>
    <h1>Sensors</h1>
    <div class="dashboard">
      <SensorList chosen={chosen} toggle={toggle} />
      <section class="trend card" aria-label="Trend">
        <header class="tools">
          <div class="group" role="group" aria-label="Range shown">
            {PRESETS.map(({ label, span: length }) => (
              <button key={label} type="button" class="small" disabled={!trends.length} onClick={() => preset(length)}>
                {label}
              </button>
            ))}
          </div>
          <label class="live">
            <input
              type="checkbox"
              checked={live}
              disabled={!chosen.length}
              onChange={(event) => setLive(event.currentTarget.checked)}
            />
            Live
          </label>
          <span class="busy" aria-hidden="true">
            {busy ? "…" : ""}
          </span>
        </header>
        {failure && (
          <p class="failure" role="alert">
            {failure}
          </p>
        )}
        {chosen.length && view ? (
          <Chart
            trends={painted}
            view={view}
            selection={selection}
            dark={dark}
            summary={summary}
            onView={show}
            onSelect={setSelection}
            onAll={all}
            onHover={setHover}
          />
        ) : (
          <p class="empty">Choose a sensor to see its trend.</p>
        )}
        <Readout trends={painted} at={hover} />
        <p id="chart-keys" class="hint" hidden={!chosen.length}>
          Drag over the chart to select a range. The wheel or + and − zoom, arrow keys move, 0 shows everything. Shift and
          arrow keys select, Enter shows the selection, Escape clears it.
        </p>
      </section>
      {chosen.length > 0 && view && (
        <Exporting
          ids={chosen}
          range={selection ?? view}
          selected={selection !== null}
          onRange={setSelection}
          onShow={() => selection && show(selection)}
        />
      )}
    </div>
    </>
  );
}

function SensorList({ chosen, toggle }: { chosen: string[]; toggle: (sensor: Sensor) => void }) {
  const [search, setSearch] = useState("");
  const [matches, setMatches] = useState<Sensor[] | null>(null);
  const [more, setMore] = useState(false);
  const [failure, setFailure] = useState("");

  useEffect(() => {
    const ended = new AbortController();
    const timer = setTimeout(
      () =>
        sensors(search, ended.signal).then(
          (result) => {
            setMatches(result.matches);
            setMore(result.more);
            setFailure("");
          },
          (error: unknown) => !ended.signal.aborted && setFailure(sentence(error)),
        ),
      search ? TYPED_MS : 0,
    );
    return () => {
      clearTimeout(timer);
      ended.abort();
    };
  }, [search]);

  return (
    <aside class="sensors card" aria-label="Sensors">
      <input
        type="search"
        placeholder="Search sensors"
        aria-label="Search sensors"
        value={search}
        onInput={(event) => setSearch(event.currentTarget.value)}
      />
      {failure && (
        <p class="failure" role="alert">
          {failure}
        </p>
      )}
      {matches?.length === 0 && <p class="empty">{search ? "No sensor matches." : "There are no sensors yet."}</p>}
      <ul>
        {matches?.map((one) => {
          const number = chosen.indexOf(one.id);
          return (
            <li key={one.id}>
              <label title={one.id}>
                <input
                  type="checkbox"
                  checked={number >= 0}
                  disabled={number < 0 && chosen.length >= CHOSEN_MAX}
                  onChange={() => toggle(one)}
                />
                <span class={`dot ${number < 0 ? "" : `trend-${number + 1}`}`} />
                <span class="name">
                  {one.name}
                  {one.name !== one.id && <small>{one.id}</small>}
                </span>
                <span class="unit">{one.unit}</span>
              </label>
            </li>
          );
        })}
      </ul>
      {more && <p class="hint">There are more sensors; search for them.</p>}
    </aside>
  );
}

/** The value of each sensor at the time under the pointer, else its last value. */
function Readout({ trends, at }: { trends: Trend[]; at: number | null }) {
  return (
    <ul class="readout" aria-label="Values">
      {trends.map(({ sensor: one, points: there, color }) => {
        const index = at === null ? there.timestamp_ms.length - 1 : nearest(there.timestamp_ms, at);
        const value = there.value[index];
        return (
          <li key={one.id}>
            <span class="dot" style={{ background: color }} />
            <b>{one.name}</b>{" "}
            {index < 0 ? (
              "no points in this range"
            ) : (
              <>
                <span>
                  {value === null || value === undefined ? "no value" : value.toLocaleString(undefined, DIGITS)} {one.unit}
                </span>{" "}
                <time>{moment(there.timestamp_ms[index]!)}</time>
                {there.quality[index] === 0 && <strong class="bad">{there.downsampled ? "some of bad quality" : "bad quality"}</strong>}
              </>
            )}
          </li>
        );
      })}
    </ul>
  );
}

const DIGITS = { maximumSignificantDigits: 8 };

/** The index of the timestamp nearest to `at`; -1 if there are none. */
function nearest(timestamps: number[], at: number): number {
  let [low, high] = [0, timestamps.length - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (timestamps[middle]! < at) low = middle + 1;
    else high = middle;
  }
  if (low > 0 && at - timestamps[low - 1]! < timestamps[low]! - at) return low - 1;
  return timestamps.length ? low : -1;
}

/** The points of all chosen sensors in the window, loaded again when it changes and every two seconds while live. */
function useTrends(chosen: string[], view: Range | null, live: boolean, setView: (view: Range) => void) {
  const [loaded, setLoaded] = useState<{ sensor: Sensor; points: Points }[]>([]);
  const [failure, setFailure] = useState("");
  const [busy, setBusy] = useState(false);

  useEffect(() => {
    if (!live) return;
    const timer = setInterval(() => {
      if (!view || document.hidden) return;
      const end = Date.now();
      setView({ start: end - span(view), end });
    }, LIVE_EVERY_MS);
    return () => clearInterval(timer);
  }, [live, view, setView]);

  useEffect(() => {
    if (!chosen.length) {
      setLoaded([]);
      setFailure("");
      return;
    }
    const ended = new AbortController();
    const timer = setTimeout(() => {
      setBusy(true);
      read(chosen, view, ended.signal)
        .then(({ range, series }) => {
          if (!view && range) setView(range);
          setLoaded(series);
          setFailure("");
        })
        .catch((error: unknown) => !ended.signal.aborted && setFailure(sentence(error)))
        .finally(() => !ended.signal.aborted && setBusy(false));
    }, 30);
    return () => {
      clearTimeout(timer);
      ended.abort();
    };
  }, [chosen, view]);

  return { trends: loaded.filter((one) => chosen.includes(one.sensor.id)), failure, busy };
}

async function read(chosen: string[], view: Range | null, signal: AbortSignal) {
  const known = await Promise.all(chosen.map((id) => sensor(id, signal)));
  const extent = extentOf(known);
  const range = view ?? (extent ? { start: extent.end - DAY, end: extent.end } : { start: Date.now() - HOUR, end: Date.now() });
  const most = 2 * Math.max(400, window.innerWidth);
  const series = await Promise.all(
    known.map(async (one) => ({ sensor: one, points: await points(one.id, range, most, signal) })),
  );
  return { range, series };
}

function extentOf(known: Sensor[]): Range | null {
  const filled = known.filter((one) => one.first_ms !== null);
  if (!filled.length) return null;
  return { start: Math.min(...filled.map((one) => one.first_ms!)), end: Math.max(...filled.map((one) => one.last_ms!)) };
}

function useDark(): boolean {
  const query = useMemo(() => matchMedia("(prefers-color-scheme: dark)"), []);
  const [dark, setDark] = useState(query.matches);
  useEffect(() => {
    const changed = () => setDark(query.matches);
    query.addEventListener("change", changed);
    return () => query.removeEventListener("change", changed);
  }, [query]);
  return dark;
}

/** The trends with their CSS custom properties resolved to colors, which a canvas needs. */
function useColors(trends: Trend[], dark: boolean): Trend[] {
  const style = getComputedStyle(document.documentElement);
  return useMemo(
    () => trends.map((trend, n) => ({ ...trend, color: style.getPropertyValue(`--trend-${n + 1}`).trim() || "#888" })),
    [dark, ...trends.map((trend) => trend.points)],
  );
}

/** The hash of the address holds the sensors and the window, so that users can bookmark and share them. */
function fromHash(): { chosen: string[]; view: Range | null } {
  const query = new URLSearchParams(location.hash.slice(1));
  const [start, end] = [Number(query.get("start")), Number(query.get("end"))];
  const view = Number.isInteger(start) && Number.isInteger(end) && start < end ? { start, end } : null;
  return { chosen: query.getAll("sensor").slice(0, CHOSEN_MAX), view };
}

function toHash(chosen: string[], view: Range | null): void {
  const query = new URLSearchParams(chosen.map((id) => ["sensor", id]));
  if (view) {
    query.append("start", String(view.start));
    query.append("end", String(view.end));
  }
  history.replaceState(null, "", location.pathname + location.search + (query.size ? `#${query}` : ""));
}

