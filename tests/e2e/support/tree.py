"""A folder as it is, to compare with what it was."""
import hashlib
import os


def picture(folder):
    """Every file below it, with what it holds and when it was written."""
    found = {}
    for place, folders, files in os.walk(folder):
        for name in folders:
            found[os.path.join(place, name)] = "folder"
        for name in files:
            path = os.path.join(place, name)
            with open(path, "rb") as file:
                found[path] = (hashlib.sha256(file.read()).hexdigest(), os.stat(path).st_mtime_ns)
    return found
