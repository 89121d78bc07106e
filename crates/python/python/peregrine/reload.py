"""Looks for Python files that have changed, for `--reload`."""

import os

# Folders that no one edits by hand.
SKIPPED = {"__pycache__", "node_modules", "site-packages", "venv"}
# Files that are watched at most.
MOST = 20_000


class Watcher:
    INTERVAL = 0.5

    def __init__(self, folders):
        self.folders = folders
        self.seen = self.times()

    def times(self):
        times = {}
        for folder in self.folders:
            for path, folders, files in os.walk(folder):
                folders[:] = [name for name in folders if name not in SKIPPED and not name.startswith(".")]
                for name in files:
                    if name.endswith(".py") and len(times) < MOST:
                        file = os.path.join(path, name)
                        try:
                            about = os.stat(file)
                        except OSError:
                            continue
                        times[file] = (about.st_mtime_ns, about.st_size)
        return times

    def changed(self):
        """The path of a file that was changed, added or removed since the last call, or None."""
        before, self.seen = self.seen, self.times()
        if before == self.seen:
            return None
        return next(path for path, _ in before.items() ^ self.seen.items())
