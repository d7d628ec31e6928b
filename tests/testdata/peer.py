"""A client by python3-websockets: it logs in, sends itself messages in fragments, pings, and is told of its faults.

Usage: peer.py URL DOMAIN. It prints "passed", or fails with the reason.
"""

import asyncio
import base64
import re
import sys

import websockets

OPEN = "<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='%s' version='1.0'/>"


async def hear(socket, pattern):
    """Returns the next message that matches."""
    while True:
        text = await asyncio.wait_for(socket.recv(), 10)
        assert "stream:error" not in text and "<failure" not in text, text
        if re.search(pattern, text):
            return text


async def fragments(text, size):
    """Yields a message in parts. Between them the event loop sends what else waits."""
    for at in range(0, len(text), size):
        yield text[at:at + size]
        await asyncio.sleep(0)


async def talk(url, domain, **options):
    """Logs in, and sends messages of all lengths in fragments of all lengths, with pings between them."""
    async with websockets.connect(url, subprotocols=["xmpp"], **options) as socket:
        assert socket.subprotocol == "xmpp" and not socket.extensions, socket.extensions
        await socket.send(OPEN % domain)
        await hear(socket, "^<open ")
        await hear(socket, "^<stream:features")
        plain = base64.b64encode(b"\0python\0any").decode()
        await socket.send("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>%s</auth>" % plain)
        await hear(socket, "^<success")
        await socket.send(OPEN % domain)
        await hear(socket, "^<open ")
        await hear(socket, "^<stream:features")
        await socket.send("<iq xmlns='jabber:client' type='set' id='b'>"
                          "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>")
        jid = re.search("<jid>([^<]+)", await hear(socket, "<jid>")).group(1)
        for n, (length, size) in enumerate([(1, 1), (50, 7), (1000, 1), (10000, 333), (15000, 16000)]):
            body = "a\u00e9\u20ac\U0001f600" * length
            message = "<message xmlns='jabber:client' to='%s' type='chat' id='m%d'><body>%s</body></message>"
            pong = await socket.ping("between %d" % n)
            await socket.send(fragments(message % (jid, n, body), size))
            got = re.search("<body>([^<]*)", await hear(socket, "id=.m%d." % n)).group(1)
            assert got == body, "%d characters of %d" % (len(got), len(body))
            await asyncio.wait_for(pong, 10)
        await socket.close(4321, "bye")
        assert socket.close_code == 4321, socket.close_code


async def fault(url, sent, code):
    """Sends something wrong, and is told so."""
    async with websockets.connect(url, subprotocols=["xmpp"]) as socket:
        await socket.send(sent)
        await asyncio.wait_for(socket.wait_closed(), 10)
        assert socket.close_code == code, "%r: %s, want %s" % (sent, socket.close_code, code)


async def refused(url, status, **options):
    """Is not let in."""
    try:
        async with websockets.connect(url, **options):
            raise AssertionError("%s %s was accepted" % (url, options))
    except websockets.InvalidStatusCode as error:
        assert error.status_code == status, error


async def main(url, domain):
    """Runs all of it."""
    await talk(url, domain)
    await talk(url, domain, compression=None)
    await fault(url, b"<a/>", 1003)
    await fault(url, "hello", 1002)
    await refused(url, 400, subprotocols=["mqtt"])
    await refused(url, 400)
    await refused(url + "/nowhere", 404, subprotocols=["xmpp"])
    print("passed with websockets", websockets.__version__)


asyncio.run(main(*sys.argv[1:]))
