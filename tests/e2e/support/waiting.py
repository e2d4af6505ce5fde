"""Waiting for what happens elsewhere, with a limit and a name for what did not."""
import time

# Generous, for a build with sanitizers on a busy machine; a test that passes never waits this long.
PATIENCE = 30.0


def wait_for(what, check, timeout=PATIENCE):
    """Calls `check` until it returns something true, which is returned."""
    end = time.monotonic() + timeout
    while True:
        found = check()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"not within {timeout:.0f} s: {what}")
        time.sleep(0.02)
