// Looks at every page of a built site in headless Chromium: check.js SITE [SCREENSHOTS].
// Each page is shown at 1280 and 390 pixels, light and dark. It may have no violation of WCAG 2.1 A or AA or of axe's
// best practices, no error on the console, no request to elsewhere, and nothing wider than the window. CHROMIUM names
// the browser; with ONLY, only pages whose path has it are looked at.
const fs = require("node:fs");
const http = require("node:http");
const path = require("node:path");
const { chromium } = require("playwright-core");
const axe = fs.readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

const [site, screenshots] = process.argv.slice(2);
const SIZES = [{ width: 1280, height: 900 }, { width: 390, height: 844 }];
const SCHEMES = [
  { colorScheme: "light", rules: {} },
  { colorScheme: "dark", rules: { runOnly: ["color-contrast"] } }, // all that depends on the mode
];
const THEMES = { light: "default", dark: "slate" }; // what the theme calls them
const TYPES = { ".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml", ".json": "application/json" };
const AXE = { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"], resultTypes: ["violations"] };

function pages(folder) {
  return fs.readdirSync(folder, { recursive: true }).filter((file) => file.endsWith(".html") && path.basename(file) !== "404.html" && file !== "index.html").sort();
}

function serve(folder) {
  const server = http.createServer((request, response) => {
    const file = path.join(folder, decodeURIComponent(new URL(request.url, "http://localhost").pathname));
    const known = file.startsWith(folder) && fs.statSync(file, { throwIfNoEntry: false })?.isFile();
    response.writeHead(known ? 200 : 404, { "Content-Type": TYPES[path.extname(file)] ?? "application/octet-stream" });
    response.end(known ? fs.readFileSync(file) : undefined);
  });
  return new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(server)));
}

async function look(page, label, rules, found) {
  const { violations } = await page.evaluate((options) => globalThis.axe.run(options), { ...AXE, ...rules });
  for (const { id, nodes } of violations) {
    found.push(`${label}: ${id}, ${nodes.length} times, such as ${nodes[0].html.slice(0, 160)}`);
  }
  const wide = await page.evaluate(() => document.scrollingElement.scrollWidth - window.innerWidth);
  if (wide > 0) found.push(`${label}: ${wide} pixels wider than the window`);
}

// Whether the theme shows its mode; a change of colours that is under way is finished.
function shown(theme) {
  for (const animation of document.getAnimations()) {
    if (Number.isFinite(animation.effect.getComputedTiming().endTime)) animation.finish();
  }
  return document.body.dataset.mdColorScheme === theme;
}

async function main() {
  const server = await serve(path.resolve(site));
  const base = `http://127.0.0.1:${server.address().port}/`;
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: ["--no-sandbox", "--disable-dev-shm-usage"] });
  const files = pages(site).filter((file) => file.includes(process.env.ONLY ?? ""));
  const found = [];
  for (const { colorScheme, rules } of SCHEMES) {
    const context = await browser.newContext({ colorScheme }); // its own, so that the theme remembers no other mode
    const page = await context.newPage();
    let label = "";
    page.on("console", (message) => message.type() === "error" && found.push(`${label}: ${message.text()}`));
    page.on("pageerror", (error) => found.push(`${label}: ${error.message}`));
    page.on("request", (request) => {
      if (!/^(data|blob):/.test(request.url()) && !request.url().startsWith(base)) found.push(`${label}: loads ${request.url()}`);
    });
    for (const file of files) {
      label = `${file}, ${colorScheme}`;
      await page.goto(base + file, { waitUntil: "load" });
      await page.evaluate(axe);
      for (const size of SIZES) {
        label = `${file} at ${size.width}, ${colorScheme}`;
        await page.setViewportSize(size);
        await page.waitForFunction(shown, THEMES[colorScheme]).catch((error) => found.push(`${label}: ${error.message}`));
        await look(page, label, rules, found);
        if (screenshots) {
          const name = `${file.replaceAll("/", "-").replace(".html", "")}-${size.width}-${colorScheme}.png`;
          await page.screenshot({ path: path.join(screenshots, name) });
        }
      }
    }
    await context.close();
  }
  await browser.close();
  server.close();
  for (const line of found) console.log(line);
  console.log(`${files.length} pages, ${SCHEMES.length * SIZES.length} looks each: ${found.length} findings`);
  process.exitCode = found.length ? 1 : 0;
}

main();
