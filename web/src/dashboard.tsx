import "uplot/dist/uPlot.min.css";
import "./dashboard/dashboard.css";

import { Dashboard } from "./dashboard/Dashboard";
import { Frame, mount, useWho } from "./frame";

/** The service decides whether reading sensors needs a session; if so, it responds 401 and the page prompts to sign in. */
function Page() {
  return (
    <Frame who={useWho()}>
      <Dashboard />
    </Frame>
  );
}

mount(<Page />);
