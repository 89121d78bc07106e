"""Asks chromedriver. The scripts that drive Chromium share it."""

import json
import sys
import urllib.error
import urllib.request


def caller(driver, patience=300):
    """A function that sends a command of WebDriver to the chromedriver at this address, and returns its value. `patience`: seconds
    that no command takes."""
    def call(method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(driver + path, data, {"Content-Type": "application/json"}, method=method)
        return json.load(urllib.request.urlopen(request, timeout=patience))["value"]
    return call


def session(call, options):
    """The path of a new session. Chromium may end while it starts, for example where memory is short: then it is started again,
    twice at most."""
    for left in (2, 1, 0):
        try:
            return "/session/" + call("POST", "/session", options)["sessionId"]
        except urllib.error.HTTPError as error:
            print(f"Chromium did not start: {error.read().decode(errors='replace')[:500]}", file=sys.stderr)
            if not left:
                raise
