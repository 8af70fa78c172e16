import { Problem } from "./calls";

export function Failure({ problem }: { problem: unknown }) {
  if (!problem) return null;
  const text = problem instanceof Error ? problem.message : String(problem);
  const code = problem instanceof Problem ? problem.code : null;
  return <p class="failure" role="alert">{text} {code && <code>{code}</code>}</p>;
}
