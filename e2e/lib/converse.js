// Converse.js as npm has it, in Chromium: a page of its own origin, and one person who uses it.

import { createServer } from 'node:http';
import { createReadStream } from 'node:fs';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

const dist = new URL('../node_modules/converse.js/dist/', import.meta.url);
const types = {
  css: 'text/css', html: 'text/html; charset=utf-8', js: 'text/javascript', json: 'application/json',
  wasm: 'application/wasm', woff2: 'font/woff2', svg: 'image/svg+xml', png: 'image/png', mp3: 'audio/mpeg',
};

const html = (settings) => `<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Converse</title>
<link rel="stylesheet" href="/dist/converse.min.css"></head>
<body class="converse-fullscreen"><script type="module">
import '/dist/converse.min.js';
converse.plugins.add('probe', { initialize() { window._converse = this._converse; } });
converse.initialize(${JSON.stringify(settings)});
</script></body></html>`;

/** Serves Converse.js with those settings on a port of its own: { url, close }. */
export async function serveConverse(settings) {
  const page = html({
    view_mode: 'fullscreen', assets_path: '/dist/', i18n: 'en', play_sounds: false, allow_url_history_change: false,
    loglevel: 'debug', whitelisted_plugins: ['probe'], ...settings,
  });
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url, 'http://localhost');
    response.setHeader('Content-Type', types[pathname.split('.').pop()] || types.html);
    if (pathname === '/') return response.end(page);
    // One file is asked for beside the page, whatever assets_path says.
    const file = createReadStream(fileURLToPath(new URL(`.${pathname.replace('/dist/', '/')}`, dist)));
    return file.on('error', () => response.writeHead(404).end()).pipe(response);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { url: `http://127.0.0.1:${server.address().port}/`, close: () => server.close() };
}
