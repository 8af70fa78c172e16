// The cards of the user's exports.
import { useEffect, useState } from "preact/hooks";
import type { Export, ExportRequest, Link, LinkRequest } from "./api";
import { call, filename, origin } from "./calls";
import { Failure } from "./failure";
import { labelOf } from "./filters";

type Props = { job: Export; now: number; changed: (job?: Export) => void };

export const ACTIVE = ["queued", "running"];

export function title(job: Export): string {
  return job.files[0]?.name ?? `${named(job)}, ${job.format.toUpperCase()}`;
}

function named({ source }: Export): string {
  if ("pushed" in source) return "Pushed rows";
  const name = origin(source);
  return name === null ? "SQL query" : "dataset" in source ? labelOf(name) : name;
}

export function JobCard({ job, now, changed }: Props) {
  const [problem, setProblem] = useState<unknown>(null);
  const attempt = (work: Promise<Export>) => {
    setProblem(null);
    work.then(changed, setProblem);
  };
  const request = again(job);
  return (
    <li class="job" data-id={job.id} data-status={job.status}>
      <div class="row between">
        <h3>{title(job)}</h3>
        <span class={`badge ${job.status}`}>{job.status === "running" && job.phase ? job.phase : job.status}</span>
      </div>
      {job.status === "running" && (
        <progress aria-label={`Progress of ${title(job)}`} max={100} {...(job.percent === null ? {} : { value: job.percent })} />
      )}
      <p class="figures">{figures(job)}</p>
      {job.status === "failed" && (
        <p class="failure">
          {job.error?.message} {job.error?.retryable ? "This may be temporary: repeat the export later." : "Change the export and create it again."}{" "}
          <code>{job.error?.code}</code>
        </p>
      )}
      {job.warnings.length > 0 && (
        <p class="warned">
          {job.warnings.map((warning) => `${warning.code.replace(/_/g, " ")}${warning.column ? ` in ${warning.column}` : ""}: ${warning.count.toLocaleString("en")}`).join("; ")}
        </p>
      )}
      <Failure problem={problem} />
      <div class="row">
        {job.status === "completed" && job.expires_at && <Download job={job} now={now} />}
        {ACTIVE.includes(job.status) ? (
          <button type="button" class="small danger" onClick={() => attempt(call<Export>("DELETE", `/v1/exports/${job.id}`))}>Cancel</button>
        ) : request && (
          <button type="button" class="small" onClick={() => attempt(call<Export>("POST", "/v1/exports", request))}>Repeat</button>
        )}
      </div>
    </li>
  );
}

function Download({ job, now }: { job: Export; now: number }) {
  // Keep the first link, so that its remaining time counts down; every response about the job contains a new one.
  const [link, setLink] = useState<Link | null>(job.download);
  const [shown, setShown] = useState<string | null>(null);
  const [notice, setNotice] = useState("");
  const [problem, setProblem] = useState<unknown>(null);
  useEffect(() => {
    if (!link) setLink(job.download);
  }, [job.download]);

  const create = (one_time: boolean) => call<Link>("POST", `/v1/exports/${job.id}/links`, { one_time } satisfies LinkRequest);
  const renew = () => create(false).then(setLink, setProblem);
  const copy = async (one_time: boolean) => {
    try {
      const { url } = one_time || !link ? await create(one_time) : link;
      try {
        await navigator.clipboard.writeText(url);
        setNotice(one_time ? "One-time link copied" : "Link copied");
      } catch {
        setShown(url); // browsers offer the clipboard only over HTTPS or on localhost
      }
    } catch (error) {
      setProblem(error);
    }
  };
  const left = link ? Math.max(0, Date.parse(link.expires_at) - now) : 0;
  if (left === 0) return <><button type="button" class="small primary" onClick={renew}>Renew link</button><span class="hint">The link has expired.</span><Failure problem={problem} /></>;
  const url = new URL(link!.url);
  return (
    <>
      <a class="button small primary" href={url.pathname + url.search} download>Download</a>
      <button type="button" class="small" onClick={() => copy(false)}>Copy link</button>
      <button type="button" class="small" onClick={() => copy(true)}>One-time link</button>
      <span class="hint" title="You can create a new link while the file is retained">Link valid for {clock(left / 1000)}</span>
      <span class="hint" role="status">{notice}</span>
      {shown && <input readOnly aria-label="Link" value={shown} ref={(field) => field?.select()} />}
      <Failure problem={problem} />
    </>
  );
}

/** What is known, and nothing else. */
function figures(job: Export): string {
  const known = [started(job)];
  if (job.status !== "queued") {
    const total = job.status === "running" && job.rows_total !== null ? ` of ${job.rows_total.toLocaleString("en")}` : "";
    known.push(`${job.rows.toLocaleString("en")}${total} rows`, size(job.bytes));
  }
  if (job.status === "running" && job.percent !== null) known.push(`${job.percent} %`);
  if (job.status === "running" && job.eta_s !== null) known.push(`${clock(job.eta_s)} left`);
  if (job.attempts > 1) known.push(`attempt ${job.attempts}`);
  if (job.truncated) known.push("truncated at the limit");
  if (job.status === "completed" && job.expires_at) known.push(`retained until ${new Date(job.expires_at).toLocaleDateString()}`);
  return known.join(" · ");
}

function started(job: Export): string {
  return new Date(job.created_at).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
}

export function size(bytes: number): string {
  const units = ["bytes", "KB", "MB", "GB", "TB"];
  const step = Math.min(units.length - 1, bytes < 1000 ? 0 : Math.floor(Math.log10(bytes) / 3));
  return `${(bytes / 1000 ** step).toLocaleString("en", { maximumFractionDigits: step ? 1 : 0 })} ${units[step]}`;
}

function clock(seconds: number): string {
  const whole = Math.ceil(seconds);
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const two = (n: number) => String(n).padStart(2, "0");
  return h ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

/** A request that repeats the export; null for pushed rows. The service accepted these options once, so it does again. */
function again({ source, format, compression, options, priority }: Export): ExportRequest | null {
  if ("pushed" in source) return null;
  const same = { format, compression, options } as Pick<ExportRequest, "format" | "compression" | "options">;
  return { ...same, source, priority, filename: filename(source), count: true };
}
