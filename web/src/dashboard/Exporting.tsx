/** The range to export, to the millisecond, and the export with its progress. */

import { useEffect, useRef, useState } from "preact/hooks";

import { exportPath, type Options, points, type Range, sentence } from "./data";
import { download, type Progress, size } from "./download";
import { duration, fromInput, moment, span, toInput } from "./range";

interface Props {
  ids: string[];
  range: Range;
  selected: boolean;
  onRange: (range: Range | null) => void;
  onShow: () => void;
}

const DEFAULTS: Options = { layout: "long", aggregate: "", interval: "1m", time: "ms" };

export function Exporting({ ids, range, selected, onRange, onShow }: Props) {
  const [options, setOptions] = useState(DEFAULTS);
  const [progress, setProgress] = useState<Progress | null>(null);
  const [done, setDone] = useState("");
  const [failure, setFailure] = useState("");
  const count = useCount(ids, range);
  const running = useRef<AbortController | null>(null);

  const start = async (format: "csv" | "xlsx") => {
    setDone("");
    setFailure("");
    const ended = (running.current = new AbortController());
    setProgress({ bytes: 0, rows: null });
    try {
      const total = count ?? (await countPoints(ids, range, ended.signal));
      if (total === 0) {
        setFailure("There are no points in this range; nothing was saved.");
        return;
      }
      const file = await download(exportPath(ids, range, format, options), setProgress, ended.signal);
      const rows = file.progress.rows === null ? "" : `${file.progress.rows.toLocaleString()} rows, `;
      setDone(`${file.name}: ${rows}${size(file.progress.bytes)}`);
    } catch (error) {
      if (!ended.signal.aborted) setFailure(sentence(error));
      else setDone("Canceled; nothing was saved.");
    } finally {
      setProgress(null);
      running.current = null;
    }
  };
  const change = (part: Partial<Range>) => {
    const next = { ...range, ...part };
    if (next.start <= next.end) {
      setFailure("");
      onRange(next);
    } else {
      setFailure("The range ends before it starts.");
    }
  };
  const set = (part: Partial<Options>) => setOptions({ ...options, ...part });
  const raw = !options.aggregate;
  const percent = progress?.rows && raw && options.layout === "long" && count ? Math.min(100, (100 * progress.rows) / count) : null;

  return (
    <section class="export card" aria-label="Export">
      <h2>{selected ? "Selected range" : "Range shown"}</h2>
      <div class="choices">
        <Moment label="From" value={range.start} onChange={(start) => change({ start })} />
        <Moment label="To" value={range.end} onChange={(end) => change({ end })} />
        <p class="hint" aria-live="polite">
          {duration(span(range))}, both ends included
          {count === null ? "" : ` · ${count.toLocaleString()} points`}
        </p>
        {selected && (
          <div class="group">
            <button type="button" class="small" onClick={onShow}>
              Zoom in
            </button>
            <button type="button" class="small" onClick={() => onRange(null)}>
              Clear
            </button>
          </div>
        )}
      </div>
      <div class="choices">
        <label>
          Values
          <select value={options.aggregate} onChange={(e) => set({ aggregate: e.currentTarget.value as Options["aggregate"] })}>
            <option value="">every point</option>
            <option value="avg">average</option>
            <option value="min">lowest</option>
            <option value="max">highest</option>
            <option value="first">first</option>
            <option value="last">last</option>
          </select>
        </label>
        {!raw && (
          <label>
            of each
            <select value={options.interval} onChange={(event) => set({ interval: event.currentTarget.value })}>
              {["1s", "10s", "1m", "5m", "15m", "1h", "1d"].map((interval) => (
                <option key={interval}>{interval}</option>
              ))}
            </select>
          </label>
        )}
        {ids.length > 1 && (
          <label>
            Sensors
            <select value={options.layout} onChange={(e) => set({ layout: e.currentTarget.value as Options["layout"] })}>
              <option value="long">one after the other</option>
              <option value="wide">side by side</option>
            </select>
          </label>
        )}
        <label>
          Times
          <select value={options.time} onChange={(event) => set({ time: event.currentTarget.value as Options["time"] })}>
            <option value="ms">milliseconds</option>
            <option value="datetime">date and time</option>
          </select>
        </label>
      </div>
      <div class="actions">
        <button type="button" class="primary" disabled={progress !== null} onClick={() => start("csv")}>
          Export CSV
        </button>
        <button type="button" class="primary" disabled={progress !== null} onClick={() => start("xlsx")}>
          Export XLSX
        </button>
        {progress && (
          <button type="button" onClick={() => running.current?.abort()}>
            Cancel
          </button>
        )}
      </div>
      {progress && <progress aria-label="Export" max={100} value={percent ?? undefined} />}
      <p class="status" role="status">
        {progress ? `${size(progress.bytes)}${progress.rows ? `, ${progress.rows.toLocaleString()} rows` : ""}` : done}
      </p>
      {failure && (
        <p class="failure" role="alert">
          {failure}
        </p>
      )}
    </section>
  );
}

function Moment({ label, value, onChange }: { label: string; value: number; onChange: (ms: number) => void }) {
  return (
    <label>
      {label}
      <input
        type="datetime-local"
        step="0.001"
        value={toInput(value)}
        title={moment(value)}
        onChange={(event) => {
          const ms = fromInput(event.currentTarget.value);
          if (ms !== null) onChange(ms);
        }}
      />
    </label>
  );
}

/** The number of points in the range, counted once it has not changed for 250 ms; null until known. */
function useCount(ids: string[], range: Range): number | null {
  const [count, setCount] = useState<number | null>(null);
  useEffect(() => {
    setCount(null);
    const ended = new AbortController();
    const timer = setTimeout(() => {
      countPoints(ids, range, ended.signal).then(setCount, () => undefined);
    }, 250);
    return () => {
      clearTimeout(timer);
      ended.abort();
    };
  }, [ids.join("\n"), range.start, range.end]);
  return count;
}

async function countPoints(ids: string[], range: Range, signal: AbortSignal): Promise<number> {
  const charts = await Promise.all(ids.map((id) => points(id, range, 4, signal)));
  return charts.reduce((sum, chart) => sum + chart.count, 0);
}
