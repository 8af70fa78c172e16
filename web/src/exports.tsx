import { useEffect, useRef, useState } from "preact/hooks";
import type { Export, ExportPage, Preview } from "./api";
import { call, Problem } from "./calls";
import { Create, Rows } from "./create";
import { Failure } from "./failure";
import { Frame, mount, useWho } from "./frame";
import { toSignIn } from "./signing";
import { ACTIVE, JobCard, title } from "./jobs";

const BUSY_MS = 1000; // the Retry-After of a running export
const IDLE_MS = 15_000;
const MOST = 100;

function Exports() {
  const who = useWho();
  useEffect(() => {
    if (who === null) toSignIn();
  }, [who]);
  return (
    <Frame who={who}>
      <h1>Exports</h1>
      {who && <Signed />}
    </Frame>
  );
}

function Signed() {
  const { jobs, more, problem, now, refresh, show, notice } = useJobs();
  const [preview, setPreview] = useState<Preview | null>(null);
  return (
    <div class="exports">
      <Create created={refresh} previewed={setPreview} />
      <div class="stack">
        {preview && <Rows preview={preview} />}
        <section class="card" aria-labelledby="yours">
          <h2 id="yours">Your exports</h2>
          <p class="hidden" role="status">{notice}</p>
          <Failure problem={problem} />
          {jobs?.length === 0 && <p class="empty">No exports yet. Those that you create appear here.</p>}
          <ul class="jobs">
            {jobs?.map((job) => <JobCard key={job.id} job={job} now={now} changed={refresh} />)}
          </ul>
          {more && <p class="row"><button type="button" onClick={show}>Show older exports</button></p>}
        </section>
      </div>
    </div>
  );
}

/** The newest exports, polled every second while one is active. */
function useJobs() {
  const [jobs, setJobs] = useState<Export[] | null>(null);
  const [more, setMore] = useState(false);
  const [limit, setLimit] = useState(20);
  const [turn, setTurn] = useState(0);
  const [problem, setProblem] = useState<unknown>(null);
  const [now, setNow] = useState(Date.now());
  const [notice, setNotice] = useState("");
  const before = useRef(new Map<string, string>());

  useEffect(() => {
    const clock = setInterval(() => setNow(Date.now()), 1000);
    return () => clearInterval(clock);
  }, []);
  useEffect(() => {
    let timer = 0;
    let stopped = false;
    const poll = async () => {
      let wait = IDLE_MS;
      try {
        const { data, has_more } = await call<ExportPage>("GET", `/v1/exports?limit=${limit}`);
        if (stopped) return;
        setJobs(data);
        setMore(has_more && limit < MOST);
        setProblem(null);
        const ended = data.filter((job) => ACTIVE.includes(before.current.get(job.id) ?? "") && !ACTIVE.includes(job.status));
        if (ended.length) setNotice(ended.map((job) => `${title(job)}: ${job.status}`).join(". "));
        before.current = new Map(data.map((job) => [job.id, job.status]));
        if (data.some((job) => ACTIVE.includes(job.status))) wait = BUSY_MS;
      } catch (error) {
        if (stopped) return;
        setProblem(error);
        wait = 1000 * ((error instanceof Problem && error.retryAfterS) || 5);
      }
      timer = window.setTimeout(poll, wait);
    };
    void poll();
    return () => {
      stopped = true;
      clearTimeout(timer);
    };
  }, [limit, turn]);

  const refresh = (job?: Export) => {
    if (job) setJobs((old) => [job, ...(old ?? []).filter((one) => one.id !== job.id)].sort((a, b) => (a.created_at < b.created_at ? 1 : -1)));
    setTurn((old) => old + 1);
  };
  return { jobs, more, problem, now, refresh, show: () => setLimit(MOST), notice };
}

mount(<Exports />);
