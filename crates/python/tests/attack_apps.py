"""Applications that do to their server what it does not expect, for `test_attacks`."""

import asyncio
import itertools
import os
import signal
import sys
import threading


def forks(path):
    """A child of `fork` that leaves its handler, in one of the ways that there are."""
    pid = os.fork()
    if pid == 0:
        if path == "/exit":
            sys.exit(0)
        if path == "/raise":
            raise ValueError("in the child")
        return "child"
    os.waitpid(pid, 0)
    return "parent"


def native(req, res):
    if req.path == "/stuck":
        print("in the handler", file=sys.stderr, flush=True)
        threading.Event().wait()
    if req.path == "/signal":
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
        return "sent"
    return forks(req.path) if req.path != "/" else "fine"


def wsgi(environ, start_response):
    path = environ["PATH_INFO"]
    body = forks(path) if path != "/" else "fine"
    start_response("200 OK", [])
    return [body.encode()]


async def asgi(scope, receive, send):
    if scope["type"] != "http":
        raise RuntimeError("HTTP only")
    path, body = scope["path"], "fine"
    if path == "/loop":
        asyncio.get_running_loop().stop()
        await asyncio.sleep(60)
    elif path == "/task":
        async def leaves():
            sys.exit(7)

        task = asyncio.ensure_future(leaves())
        await asyncio.sleep(60)
        return task
    elif path != "/":
        body = forks(path)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body.encode()})


def signal_after(step):
    """Sends SIGTERM right after call number `step` of those that prepare for signals."""
    calls = itertools.count(1)

    def followed(call):
        def follow(*arguments, **more):
            result = call(*arguments, **more)
            if next(calls) == step:
                os.kill(os.getpid(), signal.SIGTERM)
            return result

        return follow

    signal.signal, signal.set_wakeup_fd = followed(signal.signal), followed(signal.set_wakeup_fd)


if __name__ == "__main__":
    import peregrine

    if sys.argv[1:2] == ["signal"]:
        signal_after(int(sys.argv[2]))
        peregrine.serve(native, "127.0.0.1:0", workers=int(sys.argv[3]))
    else:
        peregrine.serve(native, "127.0.0.1:0", timeout_graceful_shutdown=0.1)
