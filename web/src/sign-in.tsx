import { Frame, mount } from "./frame";
import { SignInForm } from "./signing";

/** The page to open after sign-in; only paths of this service are allowed. */
function next(): string {
  const wanted = new URL(new URLSearchParams(location.search).get("next") ?? "/exports", location.origin);
  return wanted.origin === location.origin ? wanted.pathname + wanted.search + wanted.hash : "/exports";
}

mount(
  <Frame who={null}>
    <div class="card alone">
      <SignInForm title={<h1>Sign in</h1>} entered={() => location.assign(next())} />
    </div>
  </Frame>,
);
