// XMLHttpRequest for Strophe.js in Node: xhr2 with what a browser does and xhr2 does not.
//
// - responseXML is parsed, with @xmldom/xmldom.
// - A connection that breaks in the middle of a response gives status 0, not the status of the half response.
// - Each client has its own keep-alive agent with two sockets, as a browser tab has for BOSH. Strophe makes the
//   requests itself, so the client is named by the fragment of the URL, which is never sent.

import { Agent } from 'node:http';
import { Agent as SecureAgent } from 'node:https';
import { DOMParser } from '@xmldom/xmldom';
import xhr2 from 'xhr2';

const agents = new Map();
let ca; // of https

class BrowserlikeXMLHttpRequest extends xhr2.XMLHttpRequest {
  open(method, url, async) {
    const [address, client] = url.split('#');
    const secure = address.startsWith('https:');
    const options = { keepAlive: true, maxSockets: 2 };
    if (!agents.has(client)) agents.set(client, secure ? new SecureAgent({ ...options, ca }) : new Agent(options));
    this.nodejsSet({ [secure ? 'httpsAgent' : 'httpAgent']: agents.get(client) });
    super.open(method, address, async);
  }

  get responseXML() {
    if (this.readyState !== 4 || !this.responseText) return null;
    return new DOMParser().parseFromString(this.responseText, 'text/xml');
  }

  _setError() {
    super._setError();
    this.status = 0;
    this.responseText = '';
  }
}

globalThis.XMLHttpRequest = BrowserlikeXMLHttpRequest;

/** Sets the certificates, in PEM, that https is verified by from now on. */
export function trust(pem) {
  ca = pem;
}

/** Closes the sockets of a client that is done. */
export function closeSockets(client) {
  agents.get(client)?.destroy();
  agents.delete(client);
}
