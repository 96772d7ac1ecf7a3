// Opens the page of azwi doctor --html in a browser without a window, uses it as a person
// does, and prints what it saw as JSON.
// usage: node page.mjs PAGE.html CHROMIUM FOLDER-FOR-SCREENSHOTS
import {readFileSync} from 'node:fs';
import {createRequire} from 'node:module';
import {pathToFileURL} from 'node:url';
import puppeteer from 'puppeteer-core';

const [page, executablePath, folder] = process.argv.slice(2);
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const browser = await puppeteer.launch({executablePath, headless: 'shell', args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--allow-file-access-from-files']});
const out = {errors: [], requests: [], violations: []};
try {
  const tab = await browser.newPage();
  tab.on('console', m => { if (m.type() === 'error' || m.type() === 'warn') out.errors.push(m.text()); });
  tab.on('pageerror', e => out.errors.push(String(e)));
  tab.on('dialog', async d => { out.errors.push('dialog: ' + d.message()); await d.dismiss(); });
  tab.on('request', r => { if (!r.url().startsWith('file:')) out.requests.push(r.url()); });
  const shown = () => tab.$$eval('#accounts button:not([hidden])', list => list.filter(b => !b.closest('[hidden]')).length);
  for (const scheme of ['light', 'dark']) {
    await tab.emulateMediaFeatures([{name: 'prefers-color-scheme', value: scheme}]);
    for (const [name, width] of [['wide', 1400], ['narrow', 480]]) {
      await tab.setViewport({width, height: 900});
      const began = Date.now();
      await tab.goto(pathToFileURL(page).href, {waitUntil: 'load'});
      out['opened ' + scheme + ' ' + name] = Date.now() - began;
      await tab.screenshot({path: `${folder}/${scheme}-${name}.png`});
      if (name === 'narrow') {
        out['overflow ' + scheme] = await tab.evaluate(() => document.documentElement.scrollWidth > innerWidth);
      }
      // axe-core needs eval, which the page's policy forbids: it is checked in a copy without one.
      const copy = await browser.newPage();
      await copy.setBypassCSP(true);
      await copy.emulateMediaFeatures([{name: 'prefers-color-scheme', value: scheme}]);
      await copy.setViewport({width, height: 900});
      await copy.goto(pathToFileURL(page).href, {waitUntil: 'load'});
      await copy.evaluate(axe);
      const result = await copy.evaluate(() => window.axe.run(document, {resultTypes: ['violations']}));
      for (const v of result.violations) out.violations.push(`${scheme} ${name}: ${v.id}: ${v.nodes[0].html}`);
      await copy.close();
    }
  }
  await tab.setViewport({width: 1400, height: 900});
  await tab.goto(pathToFileURL(page).href, {waitUntil: 'load'});
  out.all = await shown();
  out.links = await tab.$$eval('#links path', list => list.filter(p => p.getAttribute('d')).length);
  await tab.keyboard.press('/');
  const began = Date.now();
  await tab.keyboard.type('broken');
  out.found = await shown();
  out.searched = Date.now() - began;
  await tab.click('#accounts button:not([hidden])');
  out.details = await tab.$eval('#findings', e => e.innerText);
  await tab.screenshot({path: `${folder}/chosen.png`});
  await tab.keyboard.press('Escape');
  out.afterEscape = await shown();
  await tab.select('#show', 'wrong');
  out.wrong = await shown();
  await tab.select('#show', 'all');
  await tab.select('#namespace', 'team-1');
  out.namespace = await shown();
  await tab.evaluate(() => document.querySelector('#identities button:not([hidden])').focus());
  await tab.keyboard.press('Enter');
  out.identity = await tab.$eval('#findings', e => e.innerText);
  out.pressed = await tab.$$eval('button[aria-pressed="true"]', list => list.length);
} finally {
  await browser.close();
}
console.log(JSON.stringify(out));
