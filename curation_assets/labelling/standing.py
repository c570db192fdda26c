"""What stands after many acts of labelling, and who labels what next. Pure functions over items and acts.

An act is a row of expert_labels.labels. Of a rater's acts in a role on a record the latest stands; a label stands until the
rater answers otherwise or takes it back. Only a standing label counts towards raters_per_item: an item that a rater skipped
or was unsure of goes to another.
"""

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

Act = Mapping[str, Any]

BLOCK = 20
"""Places of the queue that a rater gets shuffled among themselves (ours): the queue's order, coverage first, holds from block to
block; inside one each rater has an order of their own, so that what tires or teaches one does not fall on the same items for all."""


class Item(NamedTuple):
    """A queued item with its texts: a row of label_queue.items joined with filtered.records."""

    item_id: str
    record_id: str
    round: int
    position: int
    reason: str
    partner_record_id: str | None
    distance: float | None
    predicted_label: str | None
    predicted_probability: float | None
    text: str
    """At most snapshot.SHOWN_CHARS characters."""
    text_chars: int
    partner_text: str | None
    partner_chars: int | None


class Standing:
    """The act that stands for each rater, role and record."""

    def __init__(self, acts: Iterable[Act] = ()) -> None:
        self.by_record: dict[str, dict[tuple[str, str], Act]] = defaultdict(dict)
        """Record → (role, rater) → act, the latest; one with the answer undo stands for nothing."""
        self.by_rater: dict[tuple[str, str], dict[str, Act]] = defaultdict(dict)
        """(role, rater) → record → the same acts."""
        for act in acts:
            self.add(act)

    def add(self, act: Act) -> None:
        """Let an act stand, unless a later one of the same rater in that role on that record already does."""
        who, record = (act["role"], act["rater"]), act["record_id"]
        earlier = self.by_record[record].get(who)
        if earlier is None or _time(earlier) < _time(act):
            self.by_record[record][who] = act
            self.by_rater[who][record] = act

    def answer(self, role: str, rater: str, record_id: str) -> Act | None:
        """What the rater answered last on the record, if that was not taken back."""
        act = self.by_rater.get((role, rater), {}).get(record_id)
        return None if act is None or act["answer"] == "undo" else act

    def answers(self, role: str, record_id: str) -> list[Act]:
        """What stands of all raters in a role on a record (labels, unsure and skip), by rater."""
        found = self.by_record.get(record_id, {})
        return [act for (one, _), act in sorted(found.items()) if one == role and act["answer"] != "undo"]

    def labels(self, role: str, record_id: str) -> list[Act]:
        """The labels that stand of all raters in a role on a record, by rater."""
        return [act for act in self.answers(role, record_id) if act["answer"] == "label"]

    def latest(self, role: str, rater: str) -> Act | None:
        """What the rater did last in the role, an undo included."""
        return max(self.by_rater.get((role, rater), {}).values(), key=_time, default=None)

    def last(self, role: str, rater: str) -> Act | None:
        """The latest answer of the rater that was not taken back."""
        return next(iter(self.newest_first(role, rater)), None)

    def newest_first(self, role: str, rater: str) -> list[Act]:
        """The rater's answers in the role that were not taken back, the latest first."""
        acts = [act for act in self.by_rater.get((role, rater), {}).values() if act["answer"] != "undo"]
        return sorted(acts, key=_time, reverse=True)

    def last_guideline_version(self, rater: str) -> str | None:
        """The version of the guideline under which the rater answered last in any role, if that is known."""
        acts = [act for (_, one), found in self.by_rater.items() if one == rater for act in found.values()]
        return max(acts, key=_time)["guideline_version"] if acts else None

    def raters(self) -> list[str]:
        """The experts and adjudicators who ever answered, by name."""
        return sorted({rater for role, rater in self.by_rater if role in ("expert", "adjudicator")})


def is_disputed(standing: Standing, record_id: str) -> bool:
    """Whether experts gave a record different classes, or two and more were unsure and none gave one, and no adjudicator has settled it."""
    classes = {act["label"] for act in standing.labels("expert", record_id)}
    unsure = sum(act["answer"] == "unsure" for act in standing.answers("expert", record_id))
    return (len(classes) > 1 or (not classes and unsure > 1)) and not standing.labels("adjudicator", record_id)


def wants_labels(item: Item, standing: Standing, raters_per_item: int) -> int:
    """How many more experts an item needs: none once an adjudicator has spoken."""
    if standing.labels("adjudicator", item.record_id):
        return 0
    return max(0, raters_per_item - len(standing.labels("expert", item.record_id)))


def next_item(
    items: Sequence[Item],
    standing: Standing,
    rater: str,
    raters_per_item: int,
    offered: Mapping[str, Collection[str]],
) -> Item | None:
    """The item an expert labels next; None where nothing is open for them now.

    offered: item_id → other raters who have it on their screens, who count as if they had labelled it. Order: an item whose
    answer they have just taken back; the partner of the one just answered; then fewest labels first, older rounds first, and
    the queue's order in blocks of BLOCK places with an order of the rater's own inside.
    """
    last = standing.last("expert", rater)
    by_record = {item.record_id: item for item in items}
    just = by_record.get(last["record_id"]) if last else None
    positions = {item.record_id: item.position for item in items}
    best, best_key = None, None
    for item in items:
        if standing.answer("expert", rater, item.record_id):
            continue
        needed = wants_labels(item, standing, raters_per_item)
        taken = len(set(offered.get(item.item_id, ())) - {rater})
        if needed - taken <= 0:
            continue
        undone = standing.by_rater.get(("expert", rater), {}).get(item.record_id)
        pair = min(item.position, positions.get(item.partner_record_id, item.position))
        key = (
            undone is None,
            -_time(undone)[0].timestamp() if undone else 0,
            not (just and item.record_id == just.partner_record_id),
            raters_per_item - needed + taken,
            item.round,
            pair // BLOCK,
            _order(rater, item.round, pair),
            item.position,
        )
        if best_key is None or key < best_key:
            best, best_key = item, key
    return best


def next_disputed(
    items: Sequence[Item], standing: Standing, rater: str, offered: Mapping[str, Collection[str]]
) -> Item | None:
    """The disputed item an adjudicator settles next: in the queue's order, one just taken back first."""
    undone = standing.by_rater.get(("adjudicator", rater), {})
    open_items = [
        item
        for item in items
        if is_disputed(standing, item.record_id)
        and not standing.answer("adjudicator", rater, item.record_id)
        and not set(offered.get(item.item_id, ())) - {rater}
    ]
    return min(open_items, key=lambda item: (item.record_id not in undone, item.round, item.position), default=None)


def next_passed(items: Sequence[Item], standing: Standing, rater: str, raters_per_item: int) -> Item | None:
    """The item that an expert was unsure of or skipped longest ago, and that still wants labels."""
    passed = []
    for item in items:
        act = standing.answer("expert", rater, item.record_id)
        if act and act["answer"] != "label" and wants_labels(item, standing, raters_per_item):
            passed.append((_time(act), item))
    return min(passed, key=lambda pair: pair[0], default=(None, None))[1]


def next_passed_dispute(items: Sequence[Item], standing: Standing, rater: str) -> Item | None:
    """The item that an adjudicator was unsure of or skipped longest ago, and that is still disputed."""
    passed = [(_time(act), item) for act, item in _passed_disputes(items, standing, rater)]
    return min(passed, key=lambda pair: pair[0], default=(None, None))[1]


def _passed_disputes(items: Sequence[Item], standing: Standing, rater: str) -> list[tuple[Act, Item]]:
    own = ((standing.answer("adjudicator", rater, item.record_id), item) for item in items)
    return [(act, item) for act, item in own if act and is_disputed(standing, item.record_id)]


def tells_of_open_items(
    item: Item, items: Sequence[Item], standing: Standing, rater: str, raters_per_item: int
) -> bool:
    """Whether what the model thought of an item may still sway this rater: the item or its partner is open to them.

    With two classes the guess on one text of a pair tells that on the other. Open is what the rater may still be asked,
    as expert or adjudicator, and what they answered last in either role, since they can take that back.
    """
    latest = [standing.latest(role, rater) for role in ("expert", "adjudicator")]
    last_records = {act["record_id"] for act in latest if act}
    pair = {item.record_id, item.partner_record_id}
    related = [one for one in items if one.record_id in pair or one.partner_record_id == item.record_id]
    return any(one.record_id in last_records or _may_be_asked(one, standing, rater, raters_per_item) for one in related)


def _may_be_asked(item: Item, standing: Standing, rater: str, raters_per_item: int) -> bool:
    acts = [standing.answer(role, rater, item.record_id) for role in ("expert", "adjudicator")]
    if any(act and act["answer"] == "label" for act in acts):
        return False
    return wants_labels(item, standing, raters_per_item) > 0 or is_disputed(standing, item.record_id)


class Progress(NamedTuple):
    """How far a rater and all raters are with the queue."""

    labelled: int
    """Items of the queue the rater has labelled."""
    passed: int
    """Items the rater was unsure of or skipped."""
    open: int
    """Items the rater can still label."""
    complete: int
    """Items with as many labels as they need."""
    items: int
    """Items in the queue."""
    disputed: int
    """Items that wait for an adjudicator."""
    disputed_passed: int
    """Of them those that the rater, as an adjudicator, was unsure of or skipped."""


def progress(items: Sequence[Item], standing: Standing, rater: str, raters_per_item: int) -> Progress:
    """How far a rater and all raters are with the queue."""
    own = [standing.answer("expert", rater, item.record_id) for item in items]
    needed = [wants_labels(item, standing, raters_per_item) for item in items]
    return Progress(
        labelled=sum(act is not None and act["answer"] == "label" for act in own),
        passed=sum(act is not None and act["answer"] != "label" for act in own),
        open=sum(act is None and count > 0 for act, count in zip(own, needed, strict=True)),
        complete=sum(count == 0 for count in needed),
        items=len(items),
        disputed=sum(is_disputed(standing, item.record_id) for item in items),
        disputed_passed=len(_passed_disputes(items, standing, rater)),
    )


def _order(rater: str, round_number: int, position: int) -> bytes:
    return hashlib.sha256(f"{rater}\x1f{round_number}\x1f{position}".encode()).digest()


def _time(act: Act) -> tuple[Any, str]:
    return act["labelled_at"], act["label_id"]
