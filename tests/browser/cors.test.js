// What pages of a listed web origin, in Chromium, can ask an edge and read of its answers, with credentials.

import { after, before, test } from 'node:test';
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { once } from 'node:events';
import { launch } from './lib/browser.js';
import { until } from './lib/deadline.js';
import { Program, freePort } from './lib/program.js';
import { request } from './lib/request.js';

const creation = "<body rid='1' to='localhost' wait='60' hold='1' ver='1.6' "
  + "xmlns='http://jabber.org/protocol/httpbind'/>";

let browser;
let site;
let edge;
let origin;
before(async () => {
  site = createServer((request, response) => {
    response.writeHead(200, { 'Content-Type': 'text/html' }).end('<!DOCTYPE html><title>A page</title>');
  });
  site.listen(0, '127.0.0.1');
  await once(site, 'listening');
  const link = `127.0.0.1:${await freePort()}`;
  origin = await Program.start('origin', '--listen', link);
  // Written as people write it; the browser sends http://localhost:PORT.
  edge = await Program.start('edge', '--listen', `127.0.0.1:${await freePort()}`, '--origin', `a=${link}`,
    '--admin', 'off', '--max-connections', '1000', '--check-host', 'off', '--cors-origins', `HTTP://LocalHost:${site.address().port}/`,
    '--public-url', 'https://chat.example.org/http-bind');
  const probe = () => request(`http://${/listening on (\S+)/.exec(edge.output)[1]}/http-bind`,
    { method: 'POST', body: creation });
  await until(10, 'a link', async () => (await probe()).status !== 503);
  browser = await launch();
});
after(async () => {
  await browser?.close();
  site?.close();
  await edge?.kill();
  await origin?.kill();
});

/** What a page at a URL gets of the edge, one answer a line: the status, or "refused" if it may not read it. */
async function asks(t, pageUrl, credentials) {
  const page = await browser.newPage();
  t.after(() => page.close());
  await page.goto(pageUrl);
  const address = /listening on (\S+)/.exec(edge.output)[1];
  return page.evaluate(async ([base, mode, creation]) => {
    const ask = async (path, method, body, headers = {}) => {
      try {
        const answer = await fetch(base + path, { method, body, headers, credentials: mode });
        await answer.text();
        return answer.status;
      } catch {
        return 'refused';
      }
    };
    const traced = {
      'Content-Type': 'text/xml; charset=utf-8', traceparent: '00-1-1-00', 'sentry-trace': '1', baggage: 'a=b',
    };
    return {
      created: await ask('/http-bind', 'POST', creation, traced),
      slash: await ask('/http-bind/', 'POST', creation, traced),
      badBody: await ask('/http-bind', 'POST', '<x/>', traced),
      large: await ask('/http-bind', 'POST', ' '.repeat(300_000), traced),
      coding: await ask('/http-bind', 'POST', creation, { 'Content-Encoding': 'gzip' }),
      nowhere: await ask('/nowhere', 'POST', creation, traced),
      about: await ask('/http-bind', 'GET', undefined, traced),
      hostMeta: await ask('/.well-known/host-meta', 'GET', undefined, traced),
    };
  }, [`http://${address}`, credentials, creation]);
}

test('a listed page reads every answer', async (t) => {
  assert.deepEqual(await asks(t, `http://localhost:${site.address().port}/`, 'include'), {
    created: 200, slash: 200, badBody: 400, large: 413, coding: 415, nowhere: 404, about: 200, hostMeta: 200,
  });
});

test('another page reads host-meta and nothing else', async (t) => {
  const answers = await asks(t, `http://127.0.0.1:${site.address().port}/`, 'omit');
  const { hostMeta, ...others } = answers;
  assert.equal(hostMeta, 200);
  assert.deepEqual([...new Set(Object.values(others))], ['refused']);
});
