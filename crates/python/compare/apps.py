"""The same application for each interface: `/hello`, `/10k`, `/json` (POST, sent back after it was parsed) and, for ASGI and
native handlers, a WebSocket that sends messages back."""

import json

HELLO = b"Hello, World!"
TEN = b"x" * 10240
PLAIN = [("Content-Type", "text/plain")]
PLAIN_BYTES = [(b"content-type", b"text/plain")]
JSON = [("Content-Type", "application/json")]
JSON_BYTES = [(b"content-type", b"application/json")]


def native(req, res):
    path = req.path
    if path == "/hello":
        res.header("Content-Type", "text/plain").body(HELLO)
    elif path == "/10k":
        res.header("Content-Type", "text/plain").body(TEN)
    else:
        res.header("Content-Type", "application/json").body(json.dumps(json.loads(req.body)).encode())


def wsgi(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/hello":
        start_response("200 OK", PLAIN)
        return [HELLO]
    if path == "/10k":
        start_response("200 OK", PLAIN)
        return [TEN]
    body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    start_response("200 OK", JSON)
    return [json.dumps(json.loads(body)).encode()]


async def asgi(scope, receive, send):
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while True:
            message = await receive()
            if message["type"] == "websocket.disconnect":
                return
            await send({"type": "websocket.send", "text": message["text"]})
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    path = scope["path"]
    if path == "/hello":
        headers, body = PLAIN_BYTES, HELLO
    elif path == "/10k":
        headers, body = PLAIN_BYTES, TEN
    else:
        message = await receive()
        body = message["body"]
        while message.get("more_body"):
            message = await receive()
            body += message["body"]
        headers, body = JSON_BYTES, json.dumps(json.loads(body)).encode()
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class Echo:
    def message(self, ws, message):
        ws.send(message)


if __name__ == "__main__":
    import sys

    port = int(sys.argv[2])
    if sys.argv[1] == "fastwsgi":
        import fastwsgi

        fastwsgi.run(wsgi, host="127.0.0.1", port=port, loglevel=0)
    else:
        import peregrine

        peregrine.serve(native, f"127.0.0.1:{port}", websocket=Echo())
