"""A small pool of headlines made on the spot: ordinary ones, and clickbait of the usual makes, over the same subjects.

The class is in the manner and not in the subject, so definitions alone find it poorly and labels find it well.
"""

import json
import random
from pathlib import Path

# fmt: off
SUBJECTS = (
    "a retired teacher", "a city council", "the national railway", "two young doctors", "a school orchestra",
    "the harbour police", "a family farm", "the river museum", "an island clinic", "a village bakery",
    "the state library", "a cycling club", "the fishing fleet", "a film festival", "the mountain rescue",
    "a garden society", "the water company", "a chess champion", "the night market", "an old theatre",
)
PLACES = (
    "Lisbon", "Bergen", "Nairobi", "Busan", "Quito", "Leeds", "Haifa", "Perth", "Lyon", "Tartu", "Dakar", "Osaka",
    "Turin", "Halifax", "Porto", "Graz",
)
# fmt: on
ORDINARY = (
    "{s} in {p} reports a loss for the {n} quarter",
    "{p}: {s} elects a new chair after {n} votes",
    "Court in {p} rules against {s} over unpaid fees",
    "{s} from {p} opens its {n} branch next spring",
    "Storm delays the return of {s} to {p} by {n} days",
    "{s} signs an agreement with the mayor of {p}",
    "Fire at {s} in {p} injures {n} people, officials say",
    "{p} grants {s} a permit to build on {n} hectares",
)
CLICKBAIT = (
    "You won't believe what {s} in {p} did next",
    "{n} secrets {s} in {p} never wanted you to know",
    "This is why everyone in {p} is suddenly talking about {s}",
    "What {s} found in {p} will change the way you see everything",
    "{n} photos of {s} in {p} that will make your day",
    "Only true fans of {s} in {p} get more than {n} of these right",
    "How {s} beat the odds in {p}, and the one trick behind it",
    "We asked {s} in {p} about love and the answers are everything",
)
MOON = (
    "Lunar rover {n} drills into basalt near the south pole crater",
    "Regolith sample {n} shows traces of ice below the Moon's surface",
    "Orbiter maps helium in the Moon's mare basins, pass {n}",
    "Crew lands module {n} beside the lunar crater rim",
    "Moonquake number {n} recorded by the far-side seismometer",
)


def headlines(count: int, *, clickbait_share: float = 0.2, seed: int = 0) -> list[dict]:
    """Headlines with id, text and kind (ordinary or clickbait), no text twice."""
    rng, seen, rows = random.Random(seed), set(), []
    while len(rows) < count:
        kind = "clickbait" if rng.random() < clickbait_share else "ordinary"
        text = rng.choice(CLICKBAIT if kind == "clickbait" else ORDINARY)
        text = text.format(s=rng.choice(SUBJECTS), p=rng.choice(PLACES), n=rng.randint(3, 40))
        text = text[0].upper() + text[1:]
        if text not in seen:
            seen.add(text)
            rows.append({"id": f"{seed}-{len(rows)}", "text": text, "kind": kind})
    return rows


def moon_headlines(count: int) -> list[dict]:
    """Headlines of a subject that the others never have."""
    texts = (MOON[number % len(MOON)].format(n=number) for number in range(count))
    return [{"id": f"moon-{number}", "text": text, "kind": "moon"} for number, text in enumerate(texts)]


def save(rows: list[dict], path: Path) -> Path:
    """The headlines as JSONL, their kind left out."""
    path.write_text(
        "".join(json.dumps({"id": row["id"], "text": row["text"]}) + "\n" for row in rows), encoding="utf-8"
    )
    return path


TASK = {
    "name": "clickbait",
    "classes": [
        {"name": "ordinary", "definition": "A headline that says what the article reports."},
        {"name": "clickbait", "definition": "A headline that withholds what the article says, so that one clicks."},
    ],
    "guideline": "# Clickbait or ordinary?\nWould you know what happened? Then it is **ordinary**.",
    "items_per_round": 30,
    "budget_items": 90,
    "raters_per_item": 3,
}
"""A task over the headlines, small enough for three rounds."""
