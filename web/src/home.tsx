import { Frame, mount, useWho } from "./frame";

function Home() {
  const who = useWho();
  return (
    <Frame who={who}>
      <div class="welcome">
        <h1>Query results as complete files</h1>
        <p class="lead">
          Fluxport streams rows from your databases into CSV, JSON, XLSX, Parquet, ORC or Arrow: complete or not at
          all, with rows, bytes and SHA-256 to check.
        </p>
        <div class="places">
          <a class="card place" href="/exports">
            <h2>Exports</h2>
            <p>Choose a dataset, filter it, pick columns, watch it run and download the file.</p>
          </a>
          <a class="card place" href="/dashboard">
            <h2>Sensors</h2>
            <p>View trends, drag over a range to select it, and export exactly that range.</p>
          </a>
          <a class="card place" href="/docs">
            <h2>API</h2>
            <p>Everything these pages do, for programs; described by openapi.json.</p>
          </a>
        </div>
      </div>
    </Frame>
  );
}

mount(<Home />);
