// Signing in: the form on its own page, and as a dialog over a page whose session has ended, so that no input is lost.
import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import type { Login, SessionState, Who } from "./api";
import { call, promptSignIn } from "./calls";
import { Failure } from "./failure";

type Props = { title: ComponentChildren; entered: (who: Who) => void; children?: ComponentChildren };

export function SignInForm({ title, entered, children }: Props) {
  const [problem, setProblem] = useState<unknown>(null);
  const [busy, setBusy] = useState(false);
  const [ways, setWays] = useState<SessionState["ways"]>([]);
  useEffect(() => {
    call<SessionState>("GET", "/session/state").then((state) => setWays(state.ways), () => undefined);
  }, []);

  const enter = async (path: string, body?: Login) => {
    setBusy(true);
    setProblem(null);
    try {
      entered(await call<Who>("POST", path, body));
    } catch (error) {
      setProblem(error);
      setBusy(false);
    }
  };
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget as HTMLFormElement);
    void enter("/session", { user: String(form.get("user")), password: String(form.get("password")) });
  };

  return (
    <form class="sign-in" onSubmit={submit}>
      {title}
      <label>User<input name="user" autocomplete="username" required autofocus /></label>
      <label>Password<input name="password" type="password" autocomplete="current-password" required /></label>
      <Failure problem={problem} />
      <div class="row">
        <button class="primary" disabled={busy}>Sign in</button>
        {children}
      </div>
      {ways.includes("dev") && (
        <p class="or">
          On this machine, in development:{" "}
          <button type="button" class="link" disabled={busy} onClick={() => enter("/session/dev")}>sign in as dev</button>
        </p>
      )}
    </form>
  );
}

/** Leave for the sign-in page: for pages that had no user, and so have no input to lose. */
export function toSignIn(): void {
  location.assign(`/sign-in?next=${encodeURIComponent(location.pathname + location.search + location.hash)}`);
}

/** The dialog for a session that has ended; requests that wait for it continue after sign-in. */
export function SignInAgain({ who }: { who: Who | null | undefined }) {
  const [open, setOpen] = useState(false);
  const dialog = useRef<HTMLDialogElement>(null);
  const waiting = useRef<((entered: boolean) => void)[]>([]);
  const dismissed = useRef(false);
  const before = useRef(who);
  before.current = who;

  useEffect(() => {
    promptSignIn(() => {
      if (!before.current) {
        toSignIn();
        return new Promise(() => undefined);
      }
      if (dismissed.current) return Promise.resolve(false);
      setOpen(true);
      return new Promise((end) => waiting.current.push(end));
    });
    // After "Not now", background requests do not open the dialog again until the user's next click.
    const acted = () => (dismissed.current = false);
    document.addEventListener("click", acted, true);
    return () => document.removeEventListener("click", acted, true);
  }, []);
  useEffect(() => {
    if (open) dialog.current!.showModal();
  }, [open]);

  const done = (entered: boolean) => {
    dismissed.current = !entered;
    setOpen(false);
    for (const end of waiting.current.splice(0)) end(entered);
  };
  // The page shows data of the previous user, so reload it for another one.
  const entered = (now: Who) => (now.user === who?.user ? done(true) : location.reload());

  if (!open) return null;
  return (
    <dialog class="card" ref={dialog} aria-labelledby="again" onCancel={() => done(false)}>
      <SignInForm
        entered={entered}
        title={
          <div>
            <h2 id="again">Sign in again</h2>
            <p class="hint">Your session has ended. Your input on this page is preserved.</p>
          </div>
        }
      >
        <button type="button" onClick={() => done(false)}>Not now</button>
      </SignInForm>
    </dialog>
  );
}
