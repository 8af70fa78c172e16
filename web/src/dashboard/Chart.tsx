/** The trend chart: lines of sensors over a time window, with selection by drag, and zoom by wheel or keys. */

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

/** A drag shorter than this is a click. */
const CLICK_PX = 4;

export function Chart(props: Props) {
  const box = useRef<HTMLDivElement>(null);
  const plotRef = useRef<uPlot | null>(null);
  // Handlers outlive a render, so they read the props of the latest one through this ref.
  const now = useRef(props);
  now.current = props;
  const kind = JSON.stringify([props.dark, props.trends.map(({ sensor, color }) => [sensor.id, sensor.unit, color])]);

  useLayoutEffect(() => {
    const plot = new uPlot(options(now, box.current!), columns(now.current.trends), box.current!);
    plotRef.current = plot;
    const ended = interact(plot, now);
    const watched = new ResizeObserver(() => plot.setSize(sizeOf(box.current!)));
    watched.observe(box.current!);
    return () => {
      watched.disconnect();
      ended();
      plot.destroy();
      plotRef.current = null;
    };
  }, [kind]);

  useEffect(() => {
    const plot = plotRef.current!;
    plot.setData(columns(props.trends), false);
    plot.setScale("x", { min: props.view.start, max: props.view.end });
  }, [kind, props.trends, props.view.start, props.view.end]);

  useEffect(() => mark(plotRef.current!, props.selection), [kind, props.selection?.start, props.selection?.end]);

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
      draw: [(plot) => drawBad(plot, now.current.trends)],
      setScale: [(plot) => mark(plot, now.current.selection)],
      setSize: [(plot) => mark(plot, now.current.selection)],
      setCursor: [
        (plot) => {
          const left = plot.cursor.left ?? -1;
          now.current.onHover(left < 0 ? null : plot.posToVal(left, "x"));
        },
      ],
    },
  };
}

/** Points of bad quality: a mark at the bottom, and a ring around each unless the points are downsampled. */
function drawBad(plot: uPlot, trends: Trend[]): void {
  const { ctx, bbox } = plot;
  const color = getComputedStyle(plot.root).getPropertyValue("--bad") || "crimson";
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
      const x = plot.valToPos(points.timestamp_ms[at]!, "x", true);
      ctx.fillRect(x - ratio, bbox.top + bbox.height - 6 * ratio, 2 * ratio, 6 * ratio);
      const value = points.value[at];
      if (points.downsampled || value === null || value === undefined) return;
      ctx.beginPath();
      ctx.arc(x, plot.valToPos(value, `y ${sensor.unit}`, true), 3 * ratio, 0, 2 * Math.PI);
      ctx.stroke();
    });
  }
  ctx.restore();
}

function mark(plot: uPlot, selection: Range | null): void {
  const width = plot.over.clientWidth;
  const at = (ms: number) => Math.min(width, Math.max(0, plot.valToPos(ms, "x")));
  const [from, to] = selection ? [at(selection.start), at(selection.end)] : [0, 0];
  plot.setSelect({ left: from, width: to - from, top: 0, height: selection ? plot.over.clientHeight : 0 }, false);
}

/** Handle pointer and wheel events; the returned function removes the handlers. */
function interact(plot: uPlot, now: Now): () => void {
  const over = plot.over;
  let from: number | null = null;
  const place = (event: MouseEvent) => event.clientX - over.getBoundingClientRect().left;
  const dragged = (to: number): Range | null => {
    const width = over.clientWidth;
    const inside = (px: number) => Math.min(width, Math.max(0, px));
    const range = whole(plot.posToVal(inside(from!), "x"), plot.posToVal(inside(to), "x"));
    return Math.abs(to - from!) < CLICK_PX || range.end < range.start ? null : range;
  };
  const down = (event: PointerEvent) => {
    if (event.button !== 0) return;
    from = place(event);
    over.setPointerCapture(event.pointerId);
  };
  const move = (event: PointerEvent) => {
    if (from !== null) mark(plot, dragged(place(event)));
  };
  const up = (event: PointerEvent) => {
    if (from === null) return;
    now.current.onSelect(dragged(place(event)));
    from = null;
  };
  const cancel = () => {
    from = null;
    mark(plot, now.current.selection);
  };
  const wheel = (event: WheelEvent) => {
    event.preventDefault();
    const { view, onView } = now.current;
    if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
      onView(moved(view, (event.deltaX || event.deltaY) / 1000));
    } else {
      onView(zoomed(view, Math.exp(event.deltaY / 500), plot.posToVal(place(event), "x")));
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
