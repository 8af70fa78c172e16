// A client of generated types: queue an export, follow it, fetch the file and check its digest.
//
//     node client.js http://127.0.0.1:8000 KEY 'SELECT * FROM users' > users.csv
import { createHash } from "node:crypto";
import createClient from "openapi-fetch";
import type { paths } from "./paths";

const [base, key, query] = process.argv.slice(2);
if (!base || !key || !query) throw new Error("usage: node client.js URL KEY QUERY");
const api = createClient<paths>({ baseUrl: base, headers: { Authorization: `Bearer ${key}` } });

const queued = await api.POST("/v1/exports", { body: { source: { query }, format: "csv" } });
if (queued.error) throw new Error(`${queued.error.code}: ${queued.error.detail}`);

let job = queued.data;
while (job.status === "queued" || job.status === "running") {
  await new Promise((wake) => setTimeout(wake, 200));
  const shown = await api.GET("/v1/exports/{export_id}", { params: { path: { export_id: job.id } } });
  if (shown.error) throw new Error(shown.error.detail);
  job = shown.data;
}
const [file] = job.files;
if (job.error || !file || !job.download) throw new Error(job.error?.message ?? `The export is ${job.status}.`);

const token = new URL(job.download.url).searchParams.get("token") ?? "";
const fetched = await api.GET("/v1/exports/{export_id}/file", {
  params: { path: { export_id: job.id }, query: { token } },
  parseAs: "arrayBuffer",
});
if (!fetched.data) throw new Error(fetched.error?.detail ?? "The file has no bytes.");
const bytes = new Uint8Array(fetched.data);
if (createHash("sha256").update(bytes).digest("hex") !== file.sha256) throw new Error("The file is damaged.");
process.stdout.write(bytes);
