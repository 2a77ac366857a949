// Drives Chromium for the Go tests: a JSON order per line on standard input, an
// answer per line on standard output.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const [modules, executablePath] = process.argv.slice(2);
const require = createRequire(`${modules}/package.json`);
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

const browser = await chromium.launch({
  executablePath,
  args: [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP page.test 127.0.0.1", // a name that is not loopback's
  ],
});
const tabs = new Map();

const actions = {
  async open({ tab, url, options }) {
    const context = await browser.newContext({ viewport: { width: 760, height: 900 }, ...options });
    const page = await context.newPage();
    page.setDefaultTimeout(60_000);
    const seen = { requests: [], errors: [] };
    context.on("request", (request) => seen.requests.push(`${request.method()} ${request.url()}`));
    page.on("pageerror", (error) => seen.errors.push(String(error)));
    page.on("console", (message) => message.type() === "error" && seen.errors.push(message.text()));
    tabs.set(tab, { context, page, seen });
    await page.goto(url);
  },
  fill: ({ page, selector, text }) => page.fill(selector, text),
  type: ({ page, text }) => page.keyboard.type(text),
  press: ({ page, key }) => page.keyboard.press(key),
  click: ({ page, selector, times }) => page.click(selector, { clickCount: times, delay: 0 }),
  files: ({ page, selector, paths }) => page.setInputFiles(selector, paths),
  wait: async ({ page, selector }) => void await page.waitForSelector(selector, { state: "attached" }),
  evaluate: ({ page, script }) => page.evaluate(script),
  visible: ({ page, selector }) => page.isVisible(selector),
  outline: ({ page, selector }) => page.locator(selector).ariaSnapshot(),
  seen: ({ seen }) => seen,
  async violations({ page }) {
    await page.evaluate(axe); // a script element would meet the page's policy
    const { violations } = await page.evaluate("axe.run()");
    return violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(" ")}`);
  },
  async picture({ page, path, selector }) {
    await page.evaluate("document.fonts.ready");
    await page.locator(selector).screenshot({ path, animations: "disabled" });
  },
  async close({ tab, context }) {
    tabs.delete(tab);
    await context.close();
  },
};

async function obey({ order, action, ...what }) {
  let answer;
  try {
    answer = { result: await actions[action]({ ...tabs.get(what.tab), ...what }) };
  } catch (error) {
    answer = { error: String(error.stack) };
  }
  console.log(JSON.stringify({ order, ...answer }));
}

for await (const line of createInterface({ input: process.stdin })) obey(JSON.parse(line));
await browser.close();
