// A FluxQuery client as people wrote it: JSON.stringify drops what is undefined, the body is signed as a string.
import * as crypto from "crypto";

interface ExportRequest {
  query: string;
  email?: string;
  format?: "csv" | "json" | "excel" | "xlsx";
}

type JobStatus = "PENDING" | "PROCESSING" | "COMPLETED" | "FAILED";

class FluxQueryClient {
  private readonly baseUrl: string;
  private readonly secret: string;

  constructor(baseUrl: string, secret: string) {
    this.baseUrl = baseUrl;
    this.secret = secret;
  }

  async export(request: ExportRequest): Promise<string> {
    const body = JSON.stringify(request);
    const timestamp = Math.floor(Date.now() / 1000).toString();
    const signature = crypto
      .createHmac("sha256", this.secret)
      .update("POST" + "/export" + body + timestamp)
      .digest("hex");
    const response = await fetch(`${this.baseUrl}/export`, {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-Timestamp": timestamp, "X-Signature": signature },
      body,
    });
    if (response.status !== 202) {
      throw new Error(`export refused: ${response.status} ${await response.text()}`);
    }
    return ((await response.json()) as { job_id: string }).job_id;
  }

  async status(jobId: string): Promise<JobStatus> {
    const response = await fetch(`${this.baseUrl}/jobs?id=${encodeURIComponent(jobId)}`);
    return ((await response.json()) as { status: JobStatus }).status;
  }
}

async function main() {
  const client = new FluxQueryClient(process.env.API_URL!, process.env.API_SECRET!);
  const [query, format] = process.argv.slice(2);
  const jobId = await client.export({ query: query!, email: undefined, format: format as ExportRequest["format"] });
  console.log("job", jobId);
  let status = await client.status(jobId);
  while (status === "PENDING" || status === "PROCESSING") {
    await new Promise((resolve) => setTimeout(resolve, 500));
    status = await client.status(jobId);
  }
  if (status !== "COMPLETED") throw new Error(`status ${status}`);
  console.log("status", status);
}

main().catch((error) => {
  console.error(error.message);
  process.exit(1);
});
