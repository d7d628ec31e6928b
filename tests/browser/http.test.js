// Plain HTTP against `megaphone demo`: what curl, a browser's preflight and a curious person get.

import { after, before, test } from 'node:test';
import assert from 'node:assert/strict';
import { request } from './lib/request.js';
import { startDemo } from './lib/program.js';

let demo;
before(async () => { demo = await startDemo(); });
after(() => demo?.program.kill());

const creation = "<body content='text/xml; charset=utf-8' secure='true' to='localhost' xml:lang='en' "
  + "xmpp:version='1.0' ver='1.6' xmlns:xmpp='urn:xmpp:xbosh' rid='2230163495637982' wait='60' hold='1' "
  + "xmlns='http://jabber.org/protocol/httpbind'/>";
const asCurl = {
  'User-Agent': 'curl/7.88.1', Accept: '*/*', 'Content-Type': 'text/xml; charset=utf-8',
  'Content-Length': creation.length,
};

test('the session-creation request, as curl sends it, is answered with sid and features', async () => {
  const answer = await request(demo.url, { method: 'POST', headers: asCurl, body: creation });
  assert.equal(answer.status, 200);
  assert.equal(answer.reason, 'OK');
  assert.equal(answer.headers['content-type'], 'text/xml; charset=utf-8');
  assert.equal(Number(answer.headers['content-length']), Buffer.byteLength(answer.body));
  assert.match(answer.headers['cache-control'], /no-store/);

  const body = answer.xml();
  const attribute = (name) => body.getAttribute(name);
  assert.equal(body.localName, 'body');
  assert.equal(body.namespaceURI, 'http://jabber.org/protocol/httpbind');
  assert.match(attribute('sid'), /^\S{16,}$/);
  assert.equal(attribute('type'), null);
  assert.equal(attribute('ver'), '1.6', 'the lower of the two versions');
  assert.equal(attribute('from'), 'localhost');
  assert.equal(body.getAttributeNS('urn:xmpp:xbosh', 'version'), '1.0');
  assert.equal(body.getAttributeNS('urn:xmpp:xbosh', 'restartlogic'), 'true');
  assert.ok(Number(attribute('wait')) > 0 && Number(attribute('wait')) <= 60);
  assert.equal(attribute('hold'), '1');
  assert.equal(attribute('requests'), '2');
  assert.ok(Number(attribute('inactivity')) >= 30);

  const features = body.getElementsByTagNameNS('http://etherx.jabber.org/streams', 'features')[0];
  const mechanisms = Array.from(features.getElementsByTagName('mechanism'), (element) => element.textContent);
  assert.ok(mechanisms.includes('PLAIN') && mechanisms.includes('ANONYMOUS'), String(mechanisms));
});

test('two creations give two sids', async () => {
  const [one, two] = await Promise.all([1, 2].map(() =>
    request(demo.url, { method: 'POST', headers: asCurl, body: creation })));
  assert.notEqual(one.xml().getAttribute('sid'), two.xml().getAttribute('sid'));
});

test('a CORS preflight allows a POST with Content-Type and is remembered', async () => {
  const answer = await request(demo.url, {
    method: 'OPTIONS',
    headers: {
      Origin: 'https://chat.example', 'Access-Control-Request-Method': 'POST',
      'Access-Control-Request-Headers': 'content-type',
    },
  });
  assert.ok(answer.status === 200 || answer.status === 204, String(answer.status));
  assert.ok(['*', 'https://chat.example'].includes(answer.headers['access-control-allow-origin']));
  assert.match(answer.headers['access-control-allow-methods'], /\bPOST\b/);
  assert.match(answer.headers['access-control-allow-headers'], /content-type/i);
  assert.ok(Number(answer.headers['access-control-max-age']) > 0);
  assert.equal(answer.body, '');
});

test('the answer to a POST from another site allows that site', async () => {
  const headers = { ...asCurl, Origin: 'https://chat.example' };
  const answer = await request(demo.url, { method: 'POST', headers, body: creation });
  assert.ok(['*', 'https://chat.example'].includes(answer.headers['access-control-allow-origin']));
});

test('GET and HEAD of the BOSH path give a short page', async () => {
  const page = await request(demo.url);
  assert.equal(page.status, 200);
  assert.match(page.headers['content-type'], /^text\/(html|plain)/);
  assert.match(page.body, /BOSH/);
  assert.ok(page.body.length < 2000, `${page.body.length} bytes`);
  const head = await request(demo.url, { method: 'HEAD' });
  assert.equal(head.status, 200);
  assert.equal(head.body, '');
  assert.equal(head.headers['content-length'], page.headers['content-length']);
});

test('a slash behind the path, and escapes, make no difference', async () => {
  for (const url of [`${demo.url}/`, demo.url.replace('-', '%2D')]) {
    const answer = await request(url, { method: 'POST', headers: asCurl, body: creation });
    assert.equal(answer.status, 200);
    assert.ok(answer.xml().getAttribute('sid'));
  }
});

test('host-meta has the URLs of BOSH and WebSocket, as XML and as JSON', async () => {
  const url = `http://${demo.address}/.well-known/host-meta`;
  const answer = await request(url);
  assert.equal(answer.headers['content-type'], 'application/xrd+xml');
  assert.equal(answer.headers['access-control-allow-origin'], '*');
  const root = answer.xml();
  assert.equal(root.namespaceURI, 'http://docs.oasis-open.org/ns/xri/xrd-1.0');
  const links = Array.from(root.getElementsByTagNameNS(root.namespaceURI, 'Link'),
    (link) => ({ rel: link.getAttribute('rel'), href: link.getAttribute('href') }));
  assert.deepEqual(links, [{ rel: 'urn:xmpp:alt-connections:xbosh', href: demo.url },
    { rel: 'urn:xmpp:alt-connections:websocket', href: `ws://${demo.address}/xmpp-websocket` }]);
  assert.deepEqual(JSON.parse((await request(`${url}.json`)).body), { links });
});

test('other methods get 405, an unknown path 404', async () => {
  assert.equal((await request(demo.url, { method: 'PUT', body: creation })).status, 405);
  assert.equal((await request(`http://${demo.address}/no/such/page`)).status, 404);
});

test('an unknown session gets item-not-found', async () => {
  const body = "<body rid='1' sid='nobody-has-this-one' xmlns='http://jabber.org/protocol/httpbind'/>";
  const answer = await request(demo.url, { method: 'POST', body });
  assert.equal(answer.xml().getAttribute('type'), 'terminate');
  assert.equal(answer.xml().getAttribute('condition'), 'item-not-found');
});

test('what is not XML gets bad-request', async () => {
  const answer = await request(demo.url, { method: 'POST', body: 'hello' });
  if (answer.status !== 400) assert.equal(answer.xml().getAttribute('condition'), 'bad-request');
});

test('the chat page and its files are served', async () => {
  const scripts = ['/chat.js', '/session.js', '/people.js', '/view.js', '/strophe.umd.min.js'];
  const files = { '/': /^text\/html/, '/style.css': /^text\/css/ };
  for (const path of scripts) files[path] = /javascript/;
  for (const [path, type] of Object.entries(files)) {
    const answer = await request(`http://${demo.address}${path}`);
    assert.equal(answer.status, 200, path);
    assert.match(answer.headers['content-type'], type, path);
    assert.ok(answer.body.length > 1000, path);
  }
});

test('Ctrl-C ends the demo cleanly within 2 s, also while a request is held', async () => {
  const own = await startDemo();
  const created = await request(own.url, { method: 'POST', headers: asCurl, body: creation });
  const sid = created.xml().getAttribute('sid');
  const held = request(own.url, {
    method: 'POST', body: `<body rid='2230163495637983' sid='${sid}' xmlns='http://jabber.org/protocol/httpbind'/>`,
  }).catch((error) => error);
  const exit = await own.program.stop();
  assert.equal(exit.code, 0, `${JSON.stringify(exit)}\n${own.program.output}`);
  assert.ok(exit.seconds < 2, `${exit.seconds} s`);
  await held;
});
