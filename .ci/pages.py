"""Opens pages in Chromium and works them by keys alone: every control that can be seen gets the focus by Tab, shows it, and
no page is wider than its window or says anything on the console.

    python3 .ci/pages.py FOLDER NAME=URL..."""

import re, subprocess, sys, tempfile, time
from browser import caller, session

PATIENCE = 120
folder = sys.argv[1]
LOOKS = {"desktop": ("1100,800", 1), "phone": ("500,900", 0)}
# What a person can reach. A label that opens a file dialog stands for its input.
CONTROLS = """
return [...document.querySelectorAll('a[href], button, input, select, textarea, [tabindex]')]
  .filter(e => e.tabIndex >= 0 && !e.disabled && e.checkVisibility({visibilityProperty: true}))
  .map(e => (e.ariaLabel || e.textContent || e.placeholder || e.name || e.tagName).trim())"""
FOCUSED = """
const e = document.activeElement, style = getComputedStyle(e);
return e === document.body ? null : {
  name: (e.ariaLabel || e.textContent || e.placeholder || e.name || e.tagName).trim(),
  shown: (style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0) || style.boxShadow !== 'none'}"""

driver = None


def press(page, key):
    actions = [{"type": "key", "id": "k", "actions": [{"type": way, "value": key} for way in ("keyDown", "keyUp")]}]
    call("POST", page + "/actions", {"actions": actions})


def run(page, script):
    return call("POST", page + "/execute/sync", {"script": script, "args": []})


def look(name, url, look):
    size, scheme = LOOKS[look]
    with tempfile.TemporaryDirectory(dir=folder, ignore_cleanup_errors=True) as profile:
        args = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
                "--disable-background-networking", "--disable-component-update", "--disable-sync",
                f"--window-size={size}", f"--user-data-dir={profile}", f"--blink-settings=preferredColorScheme={scheme}"]
        options = {"capabilities": {"alwaysMatch": {"browserName": "chrome", "goog:loggingPrefs": {"browser": "ALL"},
                                                       "goog:chromeOptions": {"args": args}}}}
        page = session(call, options)
        try:
            call("POST", page + "/url", {"url": url})
            # A script may fill the page after it has loaded.
            controls, until = None, time.monotonic() + PATIENCE
            while not controls or controls != run(page, CONTROLS) or not run(page, "return document.readyState === 'complete'"):
                controls = run(page, CONTROLS)
                assert time.monotonic() < until, f"{name}, {look}: no controls"
                time.sleep(0.2)
            reached = []
            for _ in range(len(controls) + 5):
                press(page, "\ue004")
                focused = run(page, FOCUSED)
                if focused is None:
                    break
                assert focused["shown"], f"{name}, {look}: the focus on {focused['name']!r} is not seen"
                reached.append(focused["name"])
            missing = sorted(set(controls) - set(reached))
            assert not missing, f"{name}, {look}: not reached by Tab: {missing}"
            assert run(page, "return document.documentElement.scrollWidth <= innerWidth"), f"{name}, {look}: wider than the screen"
            assert run(page, "return document.documentElement.lang && document.title"), f"{name}, {look}: no language or title"
            said = call("POST", page + "/se/log", {"type": "browser"})
            assert not said, f"{name}, {look}: {said}"
            print(f"ok {name}, {look}: {len(controls)} controls by keys, nothing on the console", flush=True)
        finally:
            call("DELETE", page)


with tempfile.TemporaryFile("w+") as log:
    process = subprocess.Popen(["chromedriver", "--port=0"], stdout=log, stderr=log)
    try:
        until = time.monotonic() + PATIENCE
        while not driver:
            log.seek(0)
            found = re.search(r"started successfully on port (\d+)", log.read())
            driver = found and f"http://127.0.0.1:{found[1]}"
            assert time.monotonic() < until and process.poll() is None, "no chromedriver"
            time.sleep(0.05)
        call = caller(driver, PATIENCE)
        for pair in sys.argv[2:]:
            name, url = pair.split("=", 1)
            for kind in LOOKS:
                look(name, url, kind)
    finally:
        process.kill()
