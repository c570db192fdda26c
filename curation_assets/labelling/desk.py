"""What one server of the labelling page holds for all its raters: the last snapshot, what stands, who has what on screen.

Answers go to the journal first and count from then on; the database is read and written by a thread of its own, which may
wait for a run as long as it takes while people go on labelling.
"""

import math
import secrets
import threading
import time
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any, NamedTuple

import dagster as dg
from filelock import Timeout

from curation_assets.labelling import journal
from curation_assets.labelling.snapshot import Snapshot, read_snapshot
from curation_assets.labelling.standing import (
    Item,
    Progress,
    Standing,
    is_disputed,
    next_disputed,
    next_item,
    next_passed,
    next_passed_dispute,
    progress,
    tells_of_open_items,
)
from curation_assets.progress import logger
from curation_assets.tombstones import KeyMissingError
from curation_assets.warehouse import DatabaseError, DatabaseNameError, NoSuchDatabaseError, StaleError, Warehouse

MODES = {"label": "expert", "again": "expert", "adjudicate": "adjudicator", "adjudicate_again": "adjudicator"}
"""What a rater can do, and the role in which the answers count; again: what they passed over before."""

OFFER_SECONDS = 900
"""So long an item that is on somebody's screen is kept for them (ours)."""
AWAY_SECONDS = 900
"""Whoever took longer was away, so the seconds are stored as unknown (ours)."""
LOOK_SECONDS = 1.0
"""Between looks at whether the database has changed."""
FOLD_SECONDS = 10.0
"""Between moves of the journal into the database."""
EXCERPT_CHARS = 90
COMMENT_CHARS = 4_000


class Refused(Exception):
    """What a rater asks for cannot be done; the message is for them."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class Offer(NamedTuple):
    """An item on a rater's screen; times are time.monotonic()'s."""

    shown: float
    """When it was first shown to them, since their last answer."""
    seen: float
    """When it was last shown."""


class Answered(NamedTuple):
    """A rater's answer with its item."""

    act: Mapping[str, Any]
    item: Item | None
    """None where the record was labelled without being queued."""


class View(NamedTuple):
    """What a rater sees."""

    snapshot: Snapshot
    item: Item | None
    progress: Progress
    previous: Answered | None
    """The rater's last answer, which they can take back; what the model thought of it stays hidden."""
    settled: Answered | None
    """The label given before that, where it can no longer be taken back and what the model thought of it may be shown."""
    is_guideline_new: bool
    """Whether the guideline has changed since the rater's last answer."""
    votes: list[Mapping[str, Any]]
    """The experts' standing answers on the item, for an adjudicator; else none."""
    comment: str
    """What the rater noted on this item before they took their answer back."""
    partner_answer: Mapping[str, Any] | None
    """The rater's own answer to the partner."""
    act_id: str
    """Id of the act that the answer to this view becomes: the same form sent twice counts once."""


class Desk:
    """The state that all raters of one server share. Every method may be called from any thread.

    Where the model's guess is shown, no answer is given knowing it: a rater can take back their last answer alone, and the
    guess on a label, with the reason it was queued, is shown to them once another answer has followed it and its partner
    is closed to them too. After `unsure` or a skip it is not shown, since the item may come again.
    Without the guess (shows_guess=False) a rater can take back one answer after another.
    """

    def __init__(self, warehouse: Warehouse, *, shows_guess: bool = True) -> None:
        self.warehouse = warehouse
        self.shows_guess = shows_guess
        self.snapshot: Snapshot | None = None
        self.problem: str | None = None
        """Why the database could not be read last time, in words."""
        self.is_read = threading.Event()
        """Set when the database was read, or could not be, for the first time."""
        self._standing = Standing()
        self._known: set[str] = set()
        self._offers: dict[tuple[str, str], dict[str, Offer]] = {}
        self._last_time = datetime.min.replace(tzinfo=timezone.utc)
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._database_as_read: tuple[int, ...] = ()

    # What the thread does

    def keep_current(self) -> None:
        """Read the database whenever it has changed and fold the journal into it, until stop(). Runs in a thread of its own."""
        folded = time.monotonic()
        while not self._stopping.is_set():
            try:
                if self._database_now() != self._database_as_read:
                    self.refresh()
                if time.monotonic() - folded > FOLD_SECONDS:
                    journal.fold(self.warehouse)
                    folded = time.monotonic()
            except (DatabaseError, KeyMissingError, Timeout, OSError) as error:
                logger.warning(
                    "The journal of labels could not be moved into the database yet; it keeps them. %s", error
                )
                folded = time.monotonic()
            self._stopping.wait(LOOK_SECONDS)

    def start(self) -> None:
        """Let keep_current run in a thread that ends with the process."""
        threading.Thread(target=self.keep_current, daemon=True, name="labels").start()

    def stop(self) -> None:
        """Let keep_current end."""
        self._stopping.set()

    def refresh(self) -> None:
        """Read the database, waiting for it; on failure what was read before stays, and `problem` says why."""
        before = self._database_now()
        try:
            snapshot = read_snapshot(self.warehouse)
        except dg.Failure as failure:
            self.problem = failure.description
        except (NoSuchDatabaseError, StaleError, DatabaseNameError, DatabaseError) as error:
            self.problem = str(error)
        else:
            with self._lock:
                if self.snapshot is None or self.snapshot.task.name != snapshot.task.name:
                    self._standing, self._known = Standing(), set()
                self.snapshot, self.problem = snapshot, None
                for act in snapshot.acts:
                    self._take(act)
        self._database_as_read = before
        self.is_read.set()

    def _database_now(self) -> tuple[int, ...]:
        found = []
        for name in (self.warehouse.path, self.warehouse.path.with_name(f"{self.warehouse.path.name}.wal")):
            if name.exists():
                status = name.stat()
                found += [status.st_mtime_ns, status.st_size]
        return (*found, 1)

    # What raters do

    def current(self) -> Snapshot:
        """The last snapshot. Raises Refused where there is none yet, saying why."""
        if self.snapshot is None:
            waiting = "The database is in use by a run. This page goes on by itself as soon as it is free."
            raise Refused(self.problem or waiting, 503)
        return self.snapshot

    def raters(self) -> list[str]:
        """The raters who have answered in this task, by name."""
        with self._lock:
            return self._standing.raters()

    def disputed(self) -> int:
        """Items that wait for an adjudicator."""
        with self._lock:
            return sum(is_disputed(self._standing, item.record_id) for item in self.current().items)

    def view(self, rater: str, mode: str) -> View:
        """What the rater sees now; an item that is on their screen already stays there."""
        role, now = MODES[mode], time.monotonic()
        with self._lock:
            snapshot = self.current()
            task, items = snapshot.task, snapshot.items
            item = self._on_screen(rater, mode, now) or self._next(rater, mode, now)
            if item:
                offers = self._offers.setdefault((role, item.item_id), {})
                earlier = offers.get(rater)
                is_fresh = earlier is None or now - earlier.seen > OFFER_SECONDS
                offers[rater] = Offer(now if is_fresh else earlier.shown, now)
            by_record = {one.record_id: one for one in items}
            last = self._last_open(role, rater)
            settled = self._settled(role, rater, by_record) if self.shows_guess else None
            seen = self._standing.last_guideline_version(rater)
            standing = self._standing.by_rater.get((role, rater), {}).get(item.record_id) if item else None
            votes = self._standing.answers("expert", item.record_id) if item and role == "adjudicator" else []
            partner = self._standing.answer(role, rater, item.partner_record_id or "") if item else None
            return View(
                snapshot=snapshot,
                item=item,
                progress=progress(items, self._standing, rater, raters_per_item(snapshot)),
                previous=Answered(last, by_record.get(last["record_id"])) if last else None,
                settled=settled,
                is_guideline_new=seen is not None and seen != task.guideline_version,
                votes=votes,
                comment=(standing["comment"] or "") if standing else "",
                partner_answer=partner,
                act_id=secrets.token_hex(16),
            )

    def answer(
        self,
        rater: str,
        mode: str,
        item_id: str,
        answer: str,
        *,
        label: str | None,
        comment: str,
        guideline_version: str,
        act_id: str,
        page_seconds: float | None,
        hidden_seconds: float | None,
    ) -> Mapping[str, Any]:
        """Take a rater's answer to an item: it is on disk when this returns.

        page_seconds: since the page came up; hidden_seconds: of them with another tab in front. Raises Refused if the answer
        does not fit the task or cannot be saved.
        """
        with self._lock:
            snapshot = self.current()
            item = next((one for one in snapshot.items if one.item_id == item_id), None)
            if item is None:
                raise Refused("This item is no longer in the queue; nothing was saved. Reload the page to go on.", 409)
            role = MODES[mode]
            offer = self._offers.get((role, item_id), {}).get(rater)
            act = {
                "label_id": act_id,
                "task": snapshot.task.name,
                "item_id": item_id,
                "record_id": item.record_id,
                "rater": rater,
                "role": role,
                "answer": answer,
                "label": label if answer == "label" else None,
                "comment": comment.strip()[:COMMENT_CHARS] or None,
                "guideline_version": guideline_version or None,
                "seconds": seconds_taken(offer, page_seconds, hidden_seconds),
                "labelled_at": self._now(),
                "origin": "page",
            }
            self._write(act, snapshot)
            self._drop_offers(rater, role, item_id)
            return act

    def undo(self, rater: str, mode: str, act_id: str) -> bool:
        """Take the rater's last answer back; False where there is none that can be taken back."""
        with self._lock:
            snapshot = self.current()
            role = MODES[mode]
            last = self._last_open(role, rater)
            if act_id in self._known:
                return True
            if last is None:
                return False
            taken_back = {
                **last,
                "label_id": act_id,
                "answer": "undo",
                "label": None,
                "guideline_version": snapshot.task.guideline_version,
                "seconds": None,
                "labelled_at": self._now(),
                "origin": "page",
            }
            self._write(taken_back, snapshot)
            self._drop_offers(rater, role)
            return True

    def _write(self, act: dict[str, Any], snapshot: Snapshot) -> None:
        if act["label_id"] in self._known:  # the same form came twice
            return
        earlier = self._standing.by_record[act["record_id"]].get((act["role"], act["rater"]))
        if earlier and earlier["labelled_at"] >= act["labelled_at"]:  # it came from a machine whose clock is ahead
            act["labelled_at"] = earlier["labelled_at"] + timedelta(microseconds=1)
        try:
            journal.write(self.warehouse, [act], snapshot.task.class_names)
        except journal.LabelError as error:
            raise Refused(f"Nothing was saved: {error}.", 409) from error
        except OSError as error:
            raise Refused(f"The answer could not be written to disk, so it does not count: {error}.", 507) from error
        self._take(act)

    def _take(self, act: Mapping[str, Any]) -> None:
        if act["label_id"] not in self._known:
            self._known.add(act["label_id"])
            self._standing.add(act)

    def _last_open(self, role: str, rater: str) -> Mapping[str, Any] | None:
        """The answer that the rater can take back; with the guess shown, none where they have just taken one back."""
        latest = self._standing.latest(role, rater)
        if self.shows_guess and latest and latest["answer"] == "undo":
            return None
        return self._standing.last(role, rater)

    def _settled(self, role: str, rater: str, by_record: Mapping[str, Item]) -> Answered | None:
        """The rater's answer before the one they can take back, if it is a label that says nothing of what is open to them."""
        answers = self._standing.newest_first(role, rater)[int(self._last_open(role, rater) is not None) :]
        item = by_record.get(answers[0]["record_id"]) if answers else None
        if item is None or answers[0]["answer"] != "label":
            return None
        snapshot = self.current()
        if tells_of_open_items(item, snapshot.items, self._standing, rater, raters_per_item(snapshot)):
            return None
        return Answered(answers[0], item)

    def _now(self) -> datetime:
        """The time, later than any given out before: what stands is decided by it."""
        self._last_time = max(datetime.now(timezone.utc), self._last_time + timedelta(microseconds=1))
        return self._last_time

    def _next(self, rater: str, mode: str, now: float) -> Item | None:
        snapshot = self.current()
        offered = self._offered(MODES[mode], now)
        if mode == "adjudicate":
            return next_disputed(snapshot.items, self._standing, rater, offered)
        if mode == "adjudicate_again":
            return next_passed_dispute(snapshot.items, self._standing, rater)
        if mode == "again":
            return next_passed(snapshot.items, self._standing, rater, raters_per_item(snapshot))
        return next_item(snapshot.items, self._standing, rater, raters_per_item(snapshot), offered)

    def _on_screen(self, rater: str, mode: str, now: float) -> Item | None:
        """The item this rater was shown last, if it is still theirs to answer."""
        if mode in ("again", "adjudicate_again"):
            return None
        role, snapshot = MODES[mode], self.current()
        mine = {
            item_id: offers[rater].seen
            for (one, item_id), offers in self._offers.items()
            if one == role and rater in offers and now - offers[rater].seen < OFFER_SECONDS
        }
        for item in sorted((one for one in snapshot.items if one.item_id in mine), key=lambda one: -mine[one.item_id]):
            if self._standing.answer(role, rater, item.record_id):
                continue
            # Alone in the queue, with the offers of others: is it still open to this rater?
            others = self._offered(role, now)
            if mode == "adjudicate":
                return next_disputed([item], self._standing, rater, others)
            return next_item([item], self._standing, rater, raters_per_item(snapshot), others)
        return None

    def _offered(self, role: str, now: float) -> dict[str, set[str]]:
        """Item → raters who have it on their screens and have not answered."""
        return {
            item_id: {rater for rater, offer in offers.items() if now - offer.seen < OFFER_SECONDS}
            for (one, item_id), offers in self._offers.items()
            if one == role
        }

    def _drop_offers(self, rater: str, role: str, item_id: str | None = None) -> None:
        for (one, offered_id), offers in self._offers.items():
            if one == role and item_id in (None, offered_id):
                offers.pop(rater, None)


def raters_per_item(snapshot: Snapshot) -> int:
    """How many experts label an item."""
    return int(snapshot.task.settings.get("raters_per_item", 3))


def seconds_taken(offer: Offer | None, page_seconds: float | None, hidden_seconds: float | None) -> float | None:
    """From showing an item to answering, less the time another tab was in front; None where unknown or the rater was away.

    The server's clock counts, so that a reload does not start anew; the page's where the server was restarted meanwhile.
    """
    lasted = time.monotonic() - offer.shown if offer else page_seconds
    if lasted is None or not math.isfinite(lasted):
        return None
    hidden = hidden_seconds if hidden_seconds is not None and math.isfinite(hidden_seconds) else 0.0
    seconds = max(0.0, lasted - max(0.0, hidden))
    return round(seconds, 2) if seconds <= AWAY_SECONDS else None
