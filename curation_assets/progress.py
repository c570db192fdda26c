"""Progress lines of long work: how far, how fast, how long still. Printed by `curate`, shown as run events in the UI."""

import logging
import time
from collections.abc import Callable

logger = logging.getLogger("curation_assets")

SECONDS_BETWEEN_LINES = 5


def reporter(label: str, unit: str, total: int | None = None) -> Callable[[int], None]:
    """Return a function that is told how many units are done and logs a line at most every five seconds.

    >>> done = reporter("embeddings", "texts", total=100)
    >>> done(50)
    """
    started = last = time.monotonic()

    def report(done: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < SECONDS_BETWEEN_LINES or not done:
            return
        last = now
        rate = done / (now - started)
        if total is None:
            logger.info("%s: %s %s, %s/s", label, f"{done:,}", unit, f"{rate:,.0f}")
        else:
            left = _span((total - done) / rate)
            logger.info("%s: %s of %s %s, %s/s, %s left", label, f"{done:,}", f"{total:,}", unit, f"{rate:,.0f}", left)

    return report


def _span(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"
