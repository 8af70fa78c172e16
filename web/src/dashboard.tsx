import "uplot/dist/uPlot.min.css";
import "./dashboard/dashboard.css";

import { Dashboard } from "./dashboard/Dashboard";
import { Frame, mount, useWho } from "./frame";

/** Who reads sensors without signing in is the service's to say: it answers 401, and then one signs in. */
function Page() {
  return (
    <Frame who={useWho()}>
      <Dashboard />
    </Frame>
  );
}

mount(<Page />);
