/** The trend chart: lines of sensors over a window of time, a selection by drag, zoom by wheel, pinch-free by keys. */

import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import uPlot from "uplot";

import type { Points, Range, Sensor } from "./data";
import { moved, span, whole, zoomed } from "./range";

export interface Trend {
  sensor: Sensor;
  points: Points;
  color: string;
}

interface Props {
  trends: Trend[];
  view: Range;
  selection: Range | null;
  dark: boolean;
  summary: string;
  onView: (view: Range) => void;
  onSelect: (selection: Range | null) => void;
  onAll: () => void;
  onHover: (ms: number | null) => void;
}

/** A pointer that moved less has clicked. */
const CLICK_PX = 4;

export function Chart(props: Props) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  // Handlers live as long as the plot and must see what the last render was given.
  const now = useRef(props);
  now.current = props;
  const kind = JSON.stringify([props.dark, props.trends.map(({ sensor, color }) => [sensor.id, sensor.unit, color])]);

  useLayoutEffect(() => {
    const made = new uPlot(options(now, box.current!), columns(now.current.trends), box.current!);
    plot.current = made;
    const ended = interact(made, now);
    const watched = new ResizeObserver(() => made.setSize(sizeOf(box.current!)));
    watched.observe(box.current!);
    return () => {
      watched.disconnect();
      ended();
      made.destroy();
      plot.current = null;
    };
  }, [kind]);

  useEffect(() => {
    const made = plot.current!;
    made.setData(columns(props.trends), false);
    made.setScale("x", { min: props.view.start, max: props.view.end });
  }, [kind, props.trends, props.view.start, props.view.end]);

  useEffect(() => mark(plot.current!, props.selection), [kind, props.selection?.start, props.selection?.end]);

  return (
    <div
      class="chart"
      ref={box}
      tabIndex={0}
      role="group"
      aria-label={props.summary}
      aria-describedby="chart-keys"
      onKeyDown={(event) => key(event, now.current)}
    />
  );
}

function columns(trends: Trend[]): uPlot.AlignedData {
  if (!trends.length) return [[], []];
  return uPlot.join(trends.map(({ points }) => [points.timestamp_ms, points.value]));
}

function sizeOf(box: HTMLElement): { width: number; height: number } {
  return { width: box.clientWidth, height: box.clientHeight };
}

type Now = { current: Props };

function options(now: Now, box: HTMLElement): uPlot.Options {
  const { trends } = now.current;
  const style = getComputedStyle(box);
  const [ink, line] = [style.getPropertyValue("--soft"), style.getPropertyValue("--line")];
  const units = [...new Set(trends.map(({ sensor }) => sensor.unit))];
  const axis = { stroke: ink, font: "12px system-ui, sans-serif", ticks: { stroke: line, width: 1 } };
  return {
    ...sizeOf(box),
    ms: 1,
    legend: { show: false },
    cursor: { drag: { x: false, y: false }, points: { size: 7 } },
    scales: { x: { time: true } },
    series: [
      {},
      ...(trends.length ? trends : [null]).map((trend) => ({
        label: trend?.sensor.name ?? "",
        stroke: trend?.color ?? ink,
        width: 1.5,
        scale: `y ${trend?.sensor.unit ?? ""}`,
        points: { size: 4 },
      })),
    ],
    axes: [
      { ...axis, grid: { stroke: line, width: 1 } },
      ...(units.length ? units : [""]).map((unit, number) => ({
        ...axis,
        scale: `y ${unit}`,
        side: number % 2 ? 1 : 3,
        size: 58,
        label: unit || undefined,
        labelSize: unit ? 16 : 0,
        labelFont: "12px system-ui, sans-serif",
        grid: { show: number === 0, stroke: line, width: 1 },
      })),
    ] as uPlot.Axis[],
    hooks: {
      draw: [(made) => drawBad(made, now.current.trends)],
      setScale: [(made) => mark(made, now.current.selection)],
      setSize: [(made) => mark(made, now.current.selection)],
      setCursor: [
        (made) => {
          const left = made.cursor.left ?? -1;
          now.current.onHover(left < 0 ? null : made.posToVal(left, "x"));
        },
      ],
    },
  };
}

/** Points of bad quality: a mark at the bottom, and a ring each where every point is there for itself. */
function drawBad(made: uPlot, trends: Trend[]): void {
  const { ctx, bbox } = made;
  const color = getComputedStyle(made.root).getPropertyValue("--bad") || "crimson";
  const ratio = devicePixelRatio || 1;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  ctx.strokeStyle = ctx.fillStyle = color;
  ctx.lineWidth = 1.5 * ratio;
  for (const { sensor, points } of trends) {
    points.quality.forEach((quality, at) => {
      if (quality !== 0) return;
      const x = made.valToPos(points.timestamp_ms[at]!, "x", true);
      ctx.fillRect(x - ratio, bbox.top + bbox.height - 6 * ratio, 2 * ratio, 6 * ratio);
      const value = points.value[at];
      if (points.downsampled || value === null || value === undefined) return;
      ctx.beginPath();
      ctx.arc(x, made.valToPos(value, `y ${sensor.unit}`, true), 3 * ratio, 0, 2 * Math.PI);
      ctx.stroke();
    });
  }
  ctx.restore();
}

function mark(made: uPlot, selection: Range | null): void {
  const width = made.over.clientWidth;
  const at = (ms: number) => Math.min(width, Math.max(0, made.valToPos(ms, "x")));
  const [from, to] = selection ? [at(selection.start), at(selection.end)] : [0, 0];
  made.setSelect({ left: from, width: to - from, top: 0, height: selection ? made.over.clientHeight : 0 }, false);
}

/** Pointer and wheel; what it returns ends that. */
function interact(made: uPlot, now: Now): () => void {
  const over = made.over;
  let from: number | null = null;
  const place = (event: MouseEvent) => event.clientX - over.getBoundingClientRect().left;
  const dragged = (to: number): Range | null => {
    const width = over.clientWidth;
    const inside = (px: number) => Math.min(width, Math.max(0, px));
    const range = whole(made.posToVal(inside(from!), "x"), made.posToVal(inside(to), "x"));
    return Math.abs(to - from!) < CLICK_PX || range.end < range.start ? null : range;
  };
  const down = (event: PointerEvent) => {
    if (event.button !== 0) return;
    from = place(event);
    over.setPointerCapture(event.pointerId);
  };
  const move = (event: PointerEvent) => {
    if (from !== null) mark(made, dragged(place(event)));
  };
  const up = (event: PointerEvent) => {
    if (from === null) return;
    now.current.onSelect(dragged(place(event)));
    from = null;
  };
  const cancel = () => {
    from = null;
    mark(made, now.current.selection);
  };
  const wheel = (event: WheelEvent) => {
    event.preventDefault();
    const { view, onView } = now.current;
    if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
      onView(moved(view, (event.deltaX || event.deltaY) / 1000));
    } else {
      onView(zoomed(view, Math.exp(event.deltaY / 500), made.posToVal(place(event), "x")));
    }
  };
  const all = () => now.current.onAll();
  over.addEventListener("pointerdown", down);
  over.addEventListener("pointermove", move);
  over.addEventListener("pointerup", up);
  over.addEventListener("pointercancel", cancel);
  over.addEventListener("wheel", wheel, { passive: false });
  over.addEventListener("dblclick", all);
  return () => {
    over.removeEventListener("pointerdown", down);
    over.removeEventListener("pointermove", move);
    over.removeEventListener("pointerup", up);
    over.removeEventListener("pointercancel", cancel);
    over.removeEventListener("wheel", wheel);
    over.removeEventListener("dblclick", all);
  };
}

function key(event: KeyboardEvent, { view, selection, onView, onSelect, onAll }: Props): void {
  const step = Math.max(1, Math.round(span(view) / 50));
  const there = selection ?? { start: view.start + 20 * step, end: view.start + 30 * step };
  const actions: Record<string, () => void> = {
    ArrowLeft: () => onView(moved(view, -0.1)),
    ArrowRight: () => onView(moved(view, 0.1)),
    "+": () => onView(zoomed(view, 0.5)),
    "=": () => onView(zoomed(view, 0.5)),
    "-": () => onView(zoomed(view, 2)),
    "0": onAll,
    Escape: () => onSelect(null),
    Enter: () => selection && onView(selection),
    "Shift ArrowLeft": () => onSelect(selection ? { ...there, end: Math.max(there.start, there.end - step) } : there),
    "Shift ArrowRight": () => onSelect(selection ? { ...there, end: there.end + step } : there),
    "Alt ArrowLeft": () => onSelect(selection ? { ...there, start: there.start - step } : there),
    "Alt ArrowRight": () => onSelect(selection ? { ...there, start: Math.min(there.end, there.start + step) } : there),
  };
  const name = event.key.startsWith("Arrow")
    ? `${event.shiftKey ? "Shift " : ""}${event.altKey ? "Alt " : ""}${event.key}`
    : event.key;
  const action = event.ctrlKey || event.metaKey ? undefined : actions[name];
  if (!action) return;
  event.preventDefault();
  action();
}
