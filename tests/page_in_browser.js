/* The page of `llmzip explain` in a headless Chromium: outside of the suite, for it needs a browser.

    npm install --prefix DIR playwright-core axe-core
    llmzip explain TEXT -o page.html            (1 MB of text, for the speed to mean something)
    NODE_PATH=DIR/node_modules node tests/page_in_browser.js page.html [CHROMIUM]

Exit code 1 if: anything is written to the console; anything is asked of a network; pointing, tapping or the keyboard does not show a piece;
axe finds a fault (contrast included) in light or dark, by surprise or by who predicted, wide or narrow; scrolling has fewer than 30 frames
a second. Prints what it has measured.
*/
"use strict";
const fs = require("fs"), path = require("path"), { chromium } = require("playwright-core");
const [, , file, browserPath = "/usr/bin/chromium"] = process.argv, page_ = "file://" + path.resolve(file);
const axe = fs.readFileSync(require.resolve("axe-core/axe.min.js"), "utf-8"), faults = [];
const check = (right, what) => { console.log(right ? "ok    " : "FAULT ", what); if (!right) faults.push(what); };

async function open(browser, options) {
  const context = await browser.newContext(options), page = await context.newPage(), said = [], asked = [];
  page.on("console", message => said.push(message.text()));
  page.on("pageerror", error => said.push(error.message));
  page.on("request", request => { if (request.url() !== page_ && !request.url().startsWith("data:")) asked.push(request.url()); });
  const began = Date.now();
  await page.goto(page_);
  await page.waitForSelector("html[data-ready]", { timeout: 120000 });
  return { context, page, said, asked, seconds: (Date.now() - began) / 1000 };
}

async function accessible(page, what) {
  await page.evaluate(axe);
  const found = await page.evaluate(() => axe.run({ runOnly: ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa", "best-practice"] }));
  const rules = found.violations.map(each => `${each.id} (${each.nodes.length}: ${each.nodes[0].html.slice(0, 90)})`);
  check(!rules.length, `axe, ${what}: ${found.passes.length} rules pass` + (rules.length ? "; not " + rules.join("; ") : ""));
}

async function looks(browser) {
  for (const colorScheme of ["light", "dark"]) {
    for (const width of [1280, 390]) {
      const { context, page, said, asked } = await open(browser, { viewport: { width, height: 844 }, colorScheme });
      for (const by of ["surprise", "who"]) {
        await page.check(`input[value=${by}]`);
        await page.locator("#places button").first().click();
        await page.evaluate(() => document.querySelectorAll("details").forEach(each => (each.open = true)));
        await accessible(page, `${colorScheme}, ${width} wide, by ${by}`);
      }
      check(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${colorScheme}, ${width} wide: nothing sticks out`);
      check(!said.length && !asked.length, `nothing on the console, nothing asked of a network ${[...said, ...asked].join("; ")}`);
      await context.close();
    }
  }
}

async function works(browser) {
  const { context, page } = await open(browser, { viewport: { width: 1280, height: 900 } });
  const side = () => page.locator("#side").innerText(), said = () => page.locator("#said").innerText();
  await page.locator(".row i").nth(3).hover();
  const third = await side();
  check(/bits: /.test(third), "pointing shows a piece");
  await page.locator(".row i").nth(8).hover();
  check((await side()) !== third, "pointing at another shows another");
  await page.locator("#view").focus();
  const heard = new Set();
  for (const key of ["Home", "ArrowRight", "ArrowRight", "ArrowDown", "PageDown", "n", "n", "p", "ArrowLeft", "ArrowUp", "End", "PageUp"]) {
    await page.keyboard.press(key);
    heard.add(await said());
  }
  check(heard.size >= 8 && [...heard].every(each => /bits/.test(each)), `the keyboard goes from piece to piece, and each is told: ${[...heard][1]}`);
  const top = () => page.evaluate(() => document.getElementById("view").scrollTop);
  await page.locator("#strip").focus();
  await page.keyboard.press("Home");
  const start = await top();
  await page.keyboard.press("PageUp");
  check((await top()) >= start, "the strip goes by the keyboard");
  const box = await page.locator("#strip").boundingBox();
  await page.mouse.click(box.x + box.width * 0.5, box.y + 20);
  const share = Number(await page.locator("#strip").getAttribute("aria-valuenow"));
  await page.waitForTimeout(200); // rows that have flown by are colored again
  const fits = await page.evaluate(() => document.getElementById("view").scrollHeight <= document.getElementById("view").clientHeight);
  check(fits || Math.abs(share - 50) < 12, `a click in its middle leads to the middle: ${share} %`);
  check((await page.locator(".row .here").count()) > 0, "and marks the piece that is there");
  await context.close();
  const phone = await open(browser, { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true });
  await phone.page.locator(".row i").nth(3).tap();
  check(/bits: /.test(await phone.page.locator("#side").innerText()), "a tap shows a piece");
  await phone.context.close();
}

async function scrolls(browser) {
  const { context, page, seconds } = await open(browser, { viewport: { width: 1280, height: 900 } });
  const measured = await page.evaluate(async () => {
    const view = document.getElementById("view"), most = view.scrollHeight - view.clientHeight;
    const frames = async pixels => {
      const times = [];
      view.scrollTop = 0;
      await new Promise(done => {
        const step = time => { times.push(time); view.scrollTop = Math.min(most, view.scrollTop + pixels); times.length < 240 ? requestAnimationFrame(step) : done(); };
        requestAnimationFrame(step);
      });
      const gaps = times.slice(1).map((time, i) => time - times[i]).sort((a, b) => a - b);
      return { rate: 1000 * gaps.length / (times.at(-1) - times[0]), worst: gaps[Math.floor(gaps.length * 0.95)] };
    };
    return { wheel: await frames(90), drag: await frames(most / 240), nodes: document.querySelectorAll("*").length };
  });
  console.log(`${(fs.statSync(file).size / 1e6).toFixed(1)} MB page, ready in ${seconds.toFixed(1)} s, ${measured.nodes} elements`);
  for (const [what, { rate, worst }] of [["by the wheel", measured.wheel], ["by the bar, all of it in 240 frames", measured.drag]])
    check(rate >= 30, `scrolling ${what}: ${rate.toFixed(1)} frames a second, 95 % of them within ${worst.toFixed(1)} ms`);
  await context.close();
}

(async () => {
  const browser = await chromium.launch({ executablePath: browserPath, args: ["--no-sandbox"] });
  await looks(browser);
  await works(browser);
  await scrolls(browser);
  await browser.close();
  process.exit(faults.length ? 1 : 0);
})();
