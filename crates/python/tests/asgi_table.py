"""Runs the cases of `test_asgi` on several servers, and prints which one passes what.

    python -m tests.asgi_table peregrine uvicorn granian
"""

import os
import re
import subprocess
import sys


def results(server):
    """The outcome of each case, by its name."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "unittest", "-v", "tests.test_asgi"],
        env=dict(os.environ, ASGI_SERVER=server), capture_output=True, text=True,
    )
    lines = re.findall(r"^(test_\w+) \(tests\.test_asgi\.(\w+).*?\.\.\. .*?\b(ok|FAIL|ERROR)$", done.stderr, re.M | re.S)
    return {(group, case): "yes" if outcome == "ok" else "no" for case, group, outcome in lines}


def main():
    servers = sys.argv[1:]
    found = {server: results(server) for server in servers}
    print("| case | " + " | ".join(servers) + " |")
    print("|---|" + "---|" * len(servers))
    for group, case in sorted(set().union(*found.values())):
        name = f"{group}: {case.removeprefix('test_').replace('_', ' ')}"
        print(f"| {name} | " + " | ".join(found[server].get((group, case), "no") for server in servers) + " |")
    totals = [sum(outcome == "yes" for outcome in found[server].values()) for server in servers]
    print("| **passed** | " + " | ".join(str(total) for total in totals) + " |")


if __name__ == "__main__":
    main()
