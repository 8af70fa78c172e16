// What a person does on /dashboard, in Chromium: node dashboard.mjs SCENARIO BASE FOLDER
// Prints one line of JSON: what was seen. A line "ready" asks the other side to do its part and to answer with a line.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

import { chromium } from "playwright-core";

const [scenario, base, folder, program] = process.argv.slice(2);
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

const browser = await chromium.launch({
  executablePath: program,
  args: ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--no-first-run"],
});
const phone = { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true };
const context = await browser.newContext({
  timezoneId: "Europe/Berlin",
  locale: "en-GB",
  ...(scenario === "phone" ? phone : { viewport: { width: 1280, height: 900 } }),
});
const page = await context.newPage();
const noise = [];
page.on("console", (message) => message.type() === "error" && !message.location().url.endsWith("/session") && noise.push(`${message.text()} ${message.location().url}`));
page.on("pageerror", (error) => noise.push(error.message));
const foreign = [];
page.on("request", (request) => /^(blob:|data:)/.test(request.url()) || request.url().startsWith(base) || foreign.push(request.url()));
let downloads = 0;
page.on("download", () => downloads++);

async function open(hash = "") {
  await page.goto(`${base}/dashboard${hash}`);
  await page.getByLabel("Search sensors").waitFor();
}

async function choose(...names) {
  for (const name of names) await page.getByRole("checkbox", { name }).check();
  await plot();
}

// Where the chart of all chosen sensors stands; it is made anew when their points arrive.
async function plot() {
  for (;;) {
    await page.waitForFunction(() => {
      const chosen = document.querySelectorAll(".sensors input[type=checkbox]:checked").length;
      return chosen > 0 && document.querySelectorAll(".readout li").length === chosen;
    });
    const box = await page.locator(".chart .u-over").boundingBox();
    if (box) return box;
  }
}

async function drag(from, to) {
  const box = await plot();
  const y = box.y + box.height / 2;
  await page.mouse.move(box.x + from * box.width, y);
  await page.mouse.down();
  await page.mouse.move(box.x + ((from + to) / 2) * box.width, y + 10, { steps: 4 });
  await page.mouse.move(box.x + to * box.width, y, { steps: 4 });
  await page.mouse.up();
  await page.getByRole("heading", { name: "Selected range" }).waitFor();
}

const view = () =>
  page.evaluate(() => {
    const given = new URLSearchParams(location.hash.slice(1));
    return { start: Number(given.get("start")), end: Number(given.get("end")) };
  });

// What is shown after an act that changes it.
async function viewAfter(act) {
  const before = await page.evaluate(() => location.hash);
  await act();
  await page.waitForFunction((was) => location.hash !== was, before);
  return view();
}

// The inputs show local time to the millisecond.
const range = () =>
  page.evaluate(() => {
    const [start, end] = [...document.querySelectorAll(".export input[type=datetime-local]")].map((i) => new Date(i.value).getTime());
    return { start, end };
  });

async function save(act) {
  const [download] = await Promise.all([page.waitForEvent("download"), act()]);
  const name = download.suggestedFilename();
  await download.saveAs(`${folder}/${name}`);
  return name;
}

const click = (name) => () => page.getByRole("button", { name }).click();
const alert = async () => {
  await page.getByRole("alert").first().waitFor();
  return page.getByRole("alert").first().innerText();
};

async function part() {
  console.log("ready");
  await lines.next();
}

const scenarios = {
  async drag() {
    await open();
    await choose("Boiler");
    const seen = await viewAfter(click("All"));
    await drag(0.31, 0.62);
    const requested = await range();
    const csv = await save(click("Export CSV"));
    const status = await page.getByRole("status").innerText();
    const xlsx = await save(click("Export XLSX"));
    return { seen, requested, csv, xlsx, status, width: (await plot()).width };
  },

  async several() {
    await open();
    await choose("Boiler", "plant/line 1");
    await drag(0.9, 0.2);
    await page.getByRole("combobox", { name: "Sensors" }).selectOption("side by side");
    await page.getByRole("combobox", { name: "Values" }).selectOption("highest");
    await page.getByRole("combobox", { name: "of each" }).selectOption("5m");
    return { requested: await range(), csv: await save(click("Export CSV")) };
  },

  async search() {
    await open();
    await page.locator(".sensors li").nth(2).waitFor();
    const all = await page.locator(".sensors li").count();
    await page.getByLabel("Search sensors").fill("boil");
    await page.locator(".sensors li").nth(1).waitFor({ state: "detached" });
    const found = await page.locator(".sensors li").allInnerTexts();
    await page.getByLabel("Search sensors").fill("nothing like it");
    await page.getByText("No sensor matches.").waitFor();
    return { all, found };
  },

  async zoom() {
    await open();
    await choose("Boiler");
    const before = await view();
    const box = await plot();
    await page.mouse.move(box.x + box.width / 4, box.y + 50);
    const wheel = await viewAfter(() => page.mouse.wheel(0, -400));
    await drag(0.4, 0.6);
    const selected = await range();
    const zoomed = await viewAfter(click("Zoom in"));
    await page.reload();
    const again = await plot();
    const reloaded = await view();
    const all = await viewAfter(() => page.mouse.dblclick(again.x + 100, again.y + 50));
    return { before, wheel, selected, zoomed, reloaded, all };
  },

  async keyboard() {
    await open();
    await page.getByLabel("Search sensors").focus();
    await page.locator(".sensors li").first().waitFor();
    await page.keyboard.press("Tab");
    await page.keyboard.press("Space");
    await plot();
    const before = await view();
    for (let n = 0; n < 40 && !(await page.evaluate(() => document.activeElement.className === "chart")); n++)
      await page.keyboard.press("Tab");
    const zoomed = await viewAfter(() => page.keyboard.press("+"));
    for (const key of ["Shift+ArrowRight", "Shift+ArrowRight", "Alt+ArrowLeft"]) await page.keyboard.press(key);
    await page.getByRole("heading", { name: "Selected range" }).waitFor();
    const requested = await range();
    const text = () => page.evaluate(() => document.activeElement.textContent);
    for (let n = 0; n < 40 && (await text()) !== "Export CSV"; n++) await page.keyboard.press("Tab");
    return { before, zoomed, requested, csv: await save(() => page.keyboard.press("Enter")) };
  },

  async exact() {
    await open();
    await choose("Boiler");
    await page.getByLabel("From", { exact: true }).fill("2023-11-14T23:13:21.000"); // Berlin
    await page.getByLabel("To", { exact: true }).fill("2023-11-14T23:13:23.000");
    await page.getByText("3 points").waitFor();
    return { requested: await range(), csv: await save(click("Export CSV")) };
  },

  async failures() {
    await open("#sensor=nobody");
    const unknown = await alert();
    await page.goto("about:blank");
    await open("#sensor=A&start=1000&end=2000");
    await click("Export CSV")();
    const empty = await alert();
    await page.goto("about:blank");
    await open();
    await choose("Boiler");
    await part();
    await click("Export CSV")();
    const gone = await alert();
    return { unknown, empty, gone, downloads };
  },

  async broken() {
    const network = await context.newCDPSession(page);
    await open();
    await choose("Boiler");
    await viewAfter(click("All"));
    await page.getByText("both ends included · 200,000 points").waitFor();
    await network.send("Network.enable");
    const slow = { offline: false, latency: 0, downloadThroughput: 300_000, uploadThroughput: 300_000 };
    await network.send("Network.emulateNetworkConditions", slow);
    await click("Export CSV")();
    await page.getByText(/kB, [\d,]+ rows/).waitFor();
    const progress = await page.getByRole("status").innerText();
    await part();
    return { progress, broken: await alert(), downloads };
  },

  async live() {
    await open();
    await choose("Boiler");
    await click("15 min")();
    await page.getByLabel("Live").check();
    await part();
    await page.getByText("123.456 °C").waitFor({ timeout: 20_000 });
    const shown = await view();
    await page.getByText("bad quality").waitFor({ timeout: 20_000 });
    return { shown, now: Date.now() };
  },

  async phone() {
    await open();
    await choose("Boiler");
    const box = await plot();
    const touch = await context.newCDPSession(page);
    const y = box.y + 60;
    const at = (part) => [{ x: box.x + part * box.width, y }];
    await touch.send("Input.dispatchTouchEvent", { type: "touchStart", touchPoints: at(0.2) });
    for (const part of [0.3, 0.45, 0.6]) await touch.send("Input.dispatchTouchEvent", { type: "touchMove", touchPoints: at(part) });
    await touch.send("Input.dispatchTouchEvent", { type: "touchEnd", touchPoints: [] });
    await page.getByRole("heading", { name: "Selected range" }).waitFor();
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    return { seen: await view(), requested: await range(), wide, csv: await save(click("Export CSV")) };
  },

  async signin() {
    await page.goto(`${base}/dashboard`);
    await page.waitForURL("**/sign-in?next=%2Fdashboard");
    await page.getByRole("button", { name: "sign in as dev" }).click();
    await page.getByLabel("Search sensors").waitFor();
    await choose("Boiler");
    return { requested: await range(), csv: await save(click("Export CSV")) };
  },

  async accessible() {
    await open();
    await choose("Boiler", "plant/line 1");
    await drag(0.2, 0.4);
    const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
    const found = [];
    for (const colorScheme of ["light", "dark"]) {
      await page.emulateMedia({ colorScheme });
      await page.waitForTimeout(300);
      await page.evaluate(axe);
      const result = await page.evaluate(() => globalThis.axe.run());
      found.push(...result.violations.map((v) => `${colorScheme} ${v.id}: ${v.nodes.map((n) => n.html).join(" ").slice(0, 300)}`));
    }
    return { found };
  },
};

try {
  const seen = await scenarios[scenario]();
  if (folder && process.env.SCREENSHOTS) await page.screenshot({ path: `${process.env.SCREENSHOTS}/${scenario}.png`, fullPage: true });
  console.log(JSON.stringify({ ...seen, noise, foreign }));
} catch (error) {
  await page.screenshot({ path: `${folder}/failed-${scenario}.png`, fullPage: true });
  console.error(await page.locator("body").innerText());
  throw error;
} finally {
  await browser.close();
}
process.exit(0);
