// The frame of every page: the bar with navigation and the signed-in user.
import { type ComponentChildren, render } from "preact";
import { useEffect, useState } from "preact/hooks";
import type { SessionState, Who } from "./api";
import { call } from "./calls";
import { SignInAgain } from "./signing";
import "./style.css";

// To add a page, add a line here, in pages/routes.py and in vite.config.ts.
const PLACES: [path: string, name: string][] = [["/exports", "Exports"], ["/dashboard", "Sensors"]];

export function mount(page: ComponentChildren): void {
  render(page, document.getElementById("page")!);
}

/** The signed-in user; undefined until known, null if there is none. */
export function useWho(): Who | null | undefined {
  const [who, setWho] = useState<Who | null | undefined>(undefined);
  useEffect(() => {
    call<SessionState>("GET", "/session/state").then((state) => setWho(state.user), () => setWho(null));
  }, []);
  return who;
}

export function Frame({ who, children }: { who: Who | null | undefined; children: ComponentChildren }) {
  const leave = () => call("DELETE", "/session").then(() => location.assign("/sign-in"));
  return (
    <>
      <a class="skip" href="#main">Skip to content</a>
      <header class="bar">
        <a class="brand" href="/">
          <svg viewBox="0 0 24 24" aria-hidden="true"><path d="M3 6h11M3 12h15M3 18h8m5-10 5 4-5 4" /></svg>
          Fluxport
        </a>
        <nav aria-label="Pages">
          {PLACES.map(([path, name]) => (
            <a key={path} href={path} aria-current={location.pathname === path ? "page" : undefined}>{name}</a>
          ))}
          <a href="/docs">API</a>
        </nav>
        <div class="who">
          {who && <span class="name" title="Signed in as">{who.user}</span>}
          {who && <button type="button" class="quiet" onClick={leave}>Sign out</button>}
          {who === null && location.pathname !== "/sign-in" && <a class="button quiet" href="/sign-in">Sign in</a>}
        </div>
      </header>
      <main id="main" tabIndex={-1}>{children}</main>
      <SignInAgain who={who} />
    </>
  );
}
