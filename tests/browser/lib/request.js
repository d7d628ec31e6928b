// One HTTP request by hand, and its answer whole.

import { request as httpRequest } from 'node:http';
import { DOMParser } from '@xmldom/xmldom';
import { within } from './deadline.js';

/** Gives { status, reason, headers, body, xml() }; xml() is the parsed root element. */
export function request(url, { method = 'GET', headers = {}, body = '' } = {}) {
  const answer = new Promise((resolve, reject) => {
    const outgoing = httpRequest(url, { method, headers, agent: false }, (incoming) => {
      const parts = [];
      incoming.on('data', (part) => parts.push(part));
      incoming.on('error', reject);
      incoming.on('end', () => {
        const text = Buffer.concat(parts).toString();
        resolve({
          status: incoming.statusCode,
          reason: incoming.statusMessage,
          headers: incoming.headers,
          body: text,
          xml: () => new DOMParser().parseFromString(text, 'text/xml').documentElement,
        });
      });
    });
    outgoing.on('error', reject);
    outgoing.end(body);
  });
  return within(10, `answer to ${method} ${url}`, answer);
}
