// The form for a new export, and the preview of its first rows.
import { useEffect, useState } from "preact/hooks";
import type { Compression, Connection, Connections, Dataset, Datasets, Export, ExportRequest, Format, FormatRow, Formats, Preview, Priority, StreamRequest } from "./api";
import { call, filename, preview, shown } from "./calls";
import { type Choice, Columns } from "./columns";
import { FilterFields, filterValues, type Values } from "./filters";
import { Failure } from "./failure";
import { ZONES } from "./zones";

const PROFILES: [value: string, name: string][] = [
  ["", "Standard"], ["excel", "For Excel"], ["excel-eu", "For Excel, decimal comma"],
  ["rfc4180", "RFC 4180"], ["machine", "For programs, text unchanged"],
];
const PRIORITIES: [value: Priority, name: string][] = [["high", "High"], ["normal", "Normal"], ["low", "Low"]];

type Props = { created: (job: Export) => void; previewed: (preview: Preview | null) => void };

export function Create({ created, previewed }: Props) {
  const [datasets, setDatasets] = useState<Dataset[] | null>(null);
  const [dataset, setDataset] = useState<Dataset | null>(null);
  const [values, setValues] = useState<Values>({});
  const [choices, setChoices] = useState<Choice[]>([]);
  const [sql, setSql] = useState(false);
  const [query, setQuery] = useState("");
  const [connections, setConnections] = useState<Connection[]>([]);
  const [connection, setConnection] = useState("");
  const [formats, setFormats] = useState<Formats>({ data: [], compressions: [] });
  const [format, setFormat] = useState<Format>("csv");
  const [profile, setProfile] = useState("");
  const [locale, setLocale] = useState("");
  const [compression, setCompression] = useState<Compression>("none");
  const [name, setName] = useState("");
  const [zone, setZone] = useState("");
  const [priority, setPriority] = useState<Priority>("normal");
  const [sheet, setSheet] = useState<Sheet>({ sheet_name: "", freeze_header: true, autofilter: false });
  const [problem, setProblem] = useState<unknown>(null);
  const [busy, setBusy] = useState("");

  const choose = (chosen: Dataset | undefined) => {
    setDataset(chosen ?? null);
    setValues({});
    setChoices(chosen?.columns.map((column) => ({ column, on: true })) ?? []);
    previewed(null);
  };
  useEffect(() => {
    Promise.all([
      call<Datasets>("GET", "/v1/datasets"),
      call<Connections>("GET", "/v1/connections"),
      call<Formats>("GET", "/v1/formats"),
    ]).then(([{ data }, { data: usable }, known]) => {
      setFormats(known);
      setConnections(usable);
      setConnection(usable[0]?.name ?? "");
      setDatasets(data);
      choose(data[0]);
      setSql(data.length === 0 && usable.length > 0);
    }, setProblem);
  }, []);

  const chosenFormat: FormatRow | undefined = formats.data.find(({ name }) => name === format);
  const body = (): StreamRequest => {
    const options: Record<string, unknown> = {};
    if (chosenFormat?.delimited && profile) options.profile = profile;
    if (chosenFormat?.delimited && locale.trim()) options.locale = locale.trim();
    if (chosenFormat?.sheets) Object.assign(options, chosen(sheet));
    if (zone.trim()) options.timezone = zone.trim();
    const picked = choices.filter((choice) => choice.on).map((choice) => choice.column.name);
    if (!sql && picked.join("\n") !== dataset?.columns.map((column) => column.name).join("\n")) options.columns = picked;
    const source = sql ? { query, connection } : { dataset: dataset!.name, params: filterValues(dataset!.filters, values) };
    const request: StreamRequest = { source, format, options, filename: name.trim() || filename(source) };
    if (!chosenFormat?.packed) request.compression = compression;
    return request;
  };
  const attempt = async (what: string, work: () => Promise<void>) => {
    setBusy(what);
    setProblem(null);
    try {
      await work();
    } catch (error) {
      setProblem(error);
    }
    setBusy("");
  };
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    // One idempotency key per click: retries of the request create only one export.
    const key = Array.from(crypto.getRandomValues(new Uint32Array(4)), (part) => part.toString(36)).join("");
    void attempt("create", async () =>
      created(await call<Export>("POST", "/v1/exports", { ...body(), priority, count: true } satisfies ExportRequest, { "Idempotency-Key": key })),
    );
  };
  const showPreview = () => attempt("preview", async () => previewed(await preview(body())));
  const automatic = filename(sql || !dataset ? { query } : { dataset: dataset.name });
  const none = !sql && (!dataset || !choices.some((choice) => choice.on));

  if (datasets === null) return <section class="card"><h2>New export</h2><Failure problem={problem} /></section>;
  return (
    <form class="card new" aria-labelledby="new" onSubmit={submit}>
      <h2 id="new">New export</h2>
      {connections.length > 0 && datasets.length > 0 && (
        <fieldset class="switch">
          <legend class="hidden">What to export</legend>
          <label><input type="radio" name="source" checked={!sql} onChange={() => setSql(false)} />Dataset</label>
          <label><input type="radio" name="source" checked={sql} onChange={() => setSql(true)} />SQL</label>
        </fieldset>
      )}
      {sql ? (
        <div class="fields">
          <label class="wide">
            Query
            <textarea class="sql" rows={7} required spellcheck={false} placeholder="SELECT ..." value={query} onInput={(e) => setQuery(e.currentTarget.value)} />
          </label>
          <div class="wide">
            <Select label="Connection" value={connection} set={setConnection} choices={connections.map(({ name, kind }) => [name, `${name} (${kind})`])} />
          </div>
        </div>
      ) : dataset ? (
        <>
          <label>
            Dataset
            <select name="dataset" value={dataset.name} onChange={(e) => choose(datasets.find((d) => d.name === e.currentTarget.value))}>
              {datasets.map((d) => <option key={d.name} value={d.name}>{d.title}</option>)}
            </select>
          </label>
          {dataset.filters.length > 0 && (
            <fieldset>
              <legend>Filters</legend>
              <div class="fields">
                {dataset.filters.map((filter) => (
                  <FilterFields key={`${dataset.name} ${filter.name}`} filter={filter} values={values} set={(param, value) => setValues((old) => ({ ...old, [param]: value }))} />
                ))}
              </div>
            </fieldset>
          )}
          <Columns choices={choices} set={setChoices} />
        </>
      ) : <p class="empty">You have no dataset to export. An administrator can declare one or extend your scopes.</p>}
      <fieldset>
        <legend>File</legend>
        <div class="fields">
          <Select label="Format" value={format} set={setFormat} choices={formats.data.map(({ name, label }) => [name, label])} />
          {!chosenFormat?.packed && (
            <Select label="Compression" value={compression} set={setCompression} choices={formats.compressions.map(({ name, label }) => [name, label])} />
          )}
          {chosenFormat?.delimited && <Select label="Profile" value={profile} set={setProfile} choices={PROFILES} />}
          {chosenFormat?.delimited && (
            <label>Locale<input placeholder="such as de-DE" value={locale} onInput={(e) => setLocale(e.currentTarget.value)} /></label>
          )}
          <label class="wide">
            File name
            <input maxLength={200} placeholder={automatic} value={name} aria-describedby="name-hint" onInput={(e) => setName(e.currentTarget.value)} />
          </label>
          <p class="hint wide" id="name-hint">{"{date}, {time}, {job_id}, {user}, {dataset} and {param.NAME} are replaced; the extension is added."}</p>
        </div>
      </fieldset>
      <details>
        <summary>More options</summary>
        <div class="fields">
          <label>
            Time zone of timestamps
            <input list="zones" placeholder="unchanged" value={zone} onInput={(e) => setZone(e.currentTarget.value)} />
          </label>
          <datalist id="zones">{ZONES.map((known) => <option key={known} value={known} />)}</datalist>
          <Select label="Priority" value={priority} set={setPriority} choices={PRIORITIES} />
          {chosenFormat?.sheets && <SheetFields sheet={sheet} set={setSheet} />}
        </div>
      </details>
      <Failure problem={problem} />
      <div class="row">
        <button class="primary" disabled={busy !== "" || none}>Create Export</button>
        <button type="button" disabled={busy !== "" || none} onClick={showPreview}>{busy === "preview" ? "Reading…" : "Preview"}</button>
        {!sql && dataset && none && <span class="hint">Choose at least one column.</span>}
      </div>
    </form>
  );
}

type Sheet = { sheet_name: string; freeze_header: boolean; autofilter: boolean };

/** Only the settings that differ from the defaults. */
function chosen({ sheet_name, freeze_header, autofilter }: Sheet): Partial<Sheet> {
  return {
    ...(sheet_name.trim() && { sheet_name: sheet_name.trim() }),
    ...(!freeze_header && { freeze_header }),
    ...(autofilter && { autofilter }),
  };
}

function SheetFields({ sheet, set }: { sheet: Sheet; set: (sheet: Sheet) => void }) {
  return (
    <>
      <label class="wide">
        Sheet name
        <input maxLength={31} placeholder="Sheet1" value={sheet.sheet_name} onInput={(e) => set({ ...sheet, sheet_name: e.currentTarget.value })} />
      </label>
      <label class="check"><input type="checkbox" checked={sheet.freeze_header} onChange={(e) => set({ ...sheet, freeze_header: e.currentTarget.checked })} />Header stays in view</label>
      <label class="check"><input type="checkbox" checked={sheet.autofilter} onChange={(e) => set({ ...sheet, autofilter: e.currentTarget.checked })} />Filter buttons</label>
    </>
  );
}

type SelectProps<T extends string> = { label: string; value: T; set: (value: T) => void; choices: [T, string][] };

function Select<T extends string>({ label, value, set, choices }: SelectProps<T>) {
  return (
    <label>
      {label}
      <select value={value} onChange={(e) => set(e.currentTarget.value as T)}>
        {choices.map(([key, name]) => <option key={key} value={key}>{name}</option>)}
      </select>
    </label>
  );
}

export function Rows({ preview }: { preview: Preview }) {
  const numeric = preview.columns.map(({ type }) => /^(decimal|u?int|double|float)/.test(type));
  return (
    <section class="card" aria-labelledby="preview">
      <h2 id="preview">Preview</h2>
      <p class="hint" role="status">
        {preview.rows.length === 0 ? "No row matches." : preview.truncated ? `The first ${preview.rows.length} rows` : `All ${preview.rows.length} rows`}
      </p>
      <div class="preview" tabIndex={0} role="region" aria-label="Preview of the rows">
        <table>
          <thead><tr>{preview.columns.map(({ name }, i) => <th key={i} scope="col" class={numeric[i] ? "number" : ""}>{name}</th>)}</tr></thead>
          <tbody>
            {preview.rows.map((row, n) => (
              <tr key={n}>
                {preview.columns.map(({ key }, i) => (
                  <td key={i} class={`${numeric[i] ? "number" : ""} ${row[key] === null ? "null" : ""}`}>
                    {row[key] === null ? "empty" : shown(row[key])}
                  </td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}
