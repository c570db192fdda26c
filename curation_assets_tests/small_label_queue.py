"""A small labelling task with a queue, over records that really went from raw to filtered."""

import json
from datetime import datetime, timezone

import polars as pl
from conftest import materialize_unchecked

GUIDELINE = """
# Question or statement?
Would one **answer** it? Then it is a *question*, with or without its mark.

<script>document.title = "guideline ran"</script> and <img src=x onerror="document.title='guideline ran'">

- A [rule](https://example.org/rules) may be linked, [a trick](javascript:alert(1)) not.
- ![a picture](https://example.org/track.png)

| sign | says |
|------|------|
| ?    | mostly a question |
"""
TASK = {
    "name": "questions",
    "classes": [
        {"name": "statement", "definition": "It tells something, <b>whatever</b> the tone."},
        {"name": "question", "definition": "It asks something of the reader."},
    ],
    "guideline": GUIDELINE,
    "examples": [
        {"text": "The kettle boils at a hundred degrees & then sings.", "label": "statement"},
        {"text": "Who has seen the green umbrella?", "label": "question"},
    ],
    "raters_per_item": 2,
}
TEXTS = [
    "Why does the lighthouse keeper polish the lamp before every storm of the winter?",
    "The lighthouse keeper polishes the lamp before every storm of the winter.",
    "<script>document.title = 'record ran'</script> was written on the wall of the old station.",
    '=HYPERLINK("http://example.org") is what the spreadsheet said of the missing invoices',
    "Which of the two bridges was built first, and who paid for the other one?",
    "Two bridges were built in the same year, and the town paid for the other one.",
    "등대지기는 왜 겨울 폭풍이 올 때마다 등불을 닦는지 아는 사람이 있습니까?",
    "The committee met on Tuesday, drank its tea and decided nothing at all.",
    "Could anyone tell me where the key of the boat house is kept?",
    'I wonder who keeps the key of the boat house.\n\nNobody answered her, and so she rowed "home".',
    "هل يعرف أحد أين يُحفظ مفتاح بيت القوارب القديم عند البحيرة؟",
    "A report of the harbour master. "
    + "The tide rose, the tide fell, and the gulls were counted again by hand. " * 40,
]


def curated_texts(warehouse, folder, texts=TEXTS, **task):
    """Read texts into a warehouse, up to filtered, and set the task. No rule drops any of them."""
    path = folder / "texts.jsonl"
    lines = [{"id": f"text-{number}", "text": text} for number, text in enumerate(texts)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    ops = {
        "raw": {"sources": [{"name": "texts", "path": str(path), "license": "CC0-1.0"}]},
        "filtered": {"rule_sets": []},
        "label_task": TASK | task,
    }
    materialize_unchecked(warehouse, ops, ["raw", "cleaned", "deduped", "filtered", "label_task"])
    records = warehouse.query("select record_id, source_record_id, text from filtered.records")
    assert len(records) == len(texts)
    return {int(owner.split("-")[1]): record for record, owner, _ in records.iter_rows()}


def queue(warehouse, record_ids, pairs=(), round=1, task="questions", position=1):
    """Queue records in this order; pairs of places in it are each other's partners."""
    partners = {**dict(pairs), **{right: left for left, right in pairs}}
    rows = [
        {
            "item_id": f"item-{record_id[:8]}",
            "task": task,
            "round": round,
            "position": position + place,
            "record_id": record_id,
            "reason": "boundary_pair" if place in partners else ("uncertain", "random")[place % 2],
            "partner_record_id": record_ids[partners[place]] if place in partners else None,
            "distance": 0.125 if place in partners else None,
            "cluster": None,
            "partner_cluster": None,
            "predicted_label": "statement",
            "predicted_probability": 0.6173,
            "sampling_probability": None,
            "queued_at": datetime.now(timezone.utc),
        }
        for place, record_id in enumerate(record_ids)
    ]
    warehouse.append("label_queue.items", pl.DataFrame(rows, infer_schema_length=None))
    return [row["item_id"] for row in rows]


def labelled_queue(warehouse, folder, **task):
    """The whole case: all texts queued, three pairs among them. Returns item ids and record ids in the queue's order."""
    records = curated_texts(warehouse, folder, **task)
    record_ids = [records[number] for number in range(len(TEXTS))]
    return queue(warehouse, record_ids, pairs=[(0, 1), (4, 5), (8, 9)]), record_ids
