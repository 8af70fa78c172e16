// Wall-clock times of a time zone as instants.

export const ZONES: string[] = Intl.supportedValuesOf("timeZone");

/** `2026-03-01` and `09:30` in `zone` as RFC 3339; for an ambiguous or skipped time, with the offset before the change. */
export function instant(day: string, time: string, zone: string): string {
  const whole = time.length === 5 ? `${time}:00` : time;
  const wall = Date.parse(`${day}T${whole}Z`);
  if (Number.isNaN(wall)) return day;
  // Start from the offset a day earlier, which is close enough to decide on which side of a change the time lies.
  let minutes = offset(wall - 86_400_000, zone);
  const there = offset(wall - minutes * 60_000, zone);
  if (offset(wall - there * 60_000, zone) === there) minutes = there;
  const two = (n: number) => String(Math.floor(Math.abs(n))).padStart(2, "0");
  return `${day}T${whole}${minutes < 0 ? "-" : "+"}${two(minutes / 60)}:${two(minutes % 60)}`;
}

/** Minutes that the zone is ahead of UTC at `moment`. */
function offset(moment: number, zone: string): number {
  const parts = new Intl.DateTimeFormat("en", { timeZone: zone, timeZoneName: "longOffset" }).formatToParts(moment);
  const name = parts.find((part) => part.type === "timeZoneName")!.value; // GMT, GMT+08:00
  const [, sign, hours, minutes] = /([+-])(\d\d):(\d\d)/.exec(name) ?? ["", "+", "0", "0"];
  return (sign === "-" ? -1 : 1) * (Number(hours) * 60 + Number(minutes));
}
