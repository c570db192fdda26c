"""The gate: whether the experts agree enough that a few labels of theirs serve better than many crowd labels.

Below a pairwise kappa of about .8 the published procedure found that more crowd labels win ("Achieving 10,000x training
data reduction with high-fidelity labels", Google Research blog, August 2025).
"""

from typing import NamedTuple

from curation_assets.algorithms.agreement import Agreement

LEAST_ITEMS = 30
"""Items with two labels below which no verdict is given. Ours: at kappa .8 the interval is then some .2 wide to either side."""

MANY_ITEMS = 2_000
"""More than so many further items and the sentence says that the experts are about at the gate. Ours."""


class Gate(NamedTuple):
    """The verdict on the experts' agreement: `pass`, `below`, `cannot_say_yet` or `unknown`, and a sentence saying what to do."""

    verdict: str
    sentence: str


def gate(kappa: Agreement, threshold: float, *, least_items: int = LEAST_ITEMS, differ_on: str = "") -> Gate:
    """The verdict on a mean pairwise kappa. pass or below where the whole interval is on one side of the threshold.

    `differ_on`: where the experts differ most, in words, for the reader who has to sharpen the guideline.

    >>> gate(Agreement(0.86, 0.81, 0.9, 200, 0.0), 0.8).verdict, gate(Agreement(0.75, 0.6, 0.88, 60, 0.0), 0.8).verdict
    ('pass', 'cannot_say_yet')
    """
    if kappa.n == 0:
        return Gate(
            "unknown",
            "The experts' agreement is unknown: no item has labels of two of them. Let a second expert label some of the same items.",
        )
    if kappa.value is None:
        return Gate(
            "unknown",
            f"The experts' agreement is undefined: all gave one and the same class to all {kappa.n:,} items that two of them labelled, "
            "so there was nothing to tell apart. Go on; it shows once there are items of other classes.",
        )
    measured = f"mean pairwise kappa {kappa.value:.2f}"
    measured += "" if kappa.low is None else f" [{kappa.low:.2f}, {kappa.high:.2f}]"
    measured += f" over {kappa.n:,} item{'s' if kappa.n != 1 else ''}"
    if kappa.n < least_items or kappa.low is None:
        return Gate(
            "cannot_say_yet",
            f"Too early to say whether the experts agree enough: {measured}, and {max(least_items, kappa.n + 1):,} with labels of two "
            "are wanted. Go on.",
        )
    if kappa.low >= threshold:
        return Gate(
            "pass",
            f"The experts agree enough: {measured}, all of the interval at or above the gate of {threshold:.2f}. Go on.",
        )
    if kappa.high < threshold:
        return Gate(
            "below",
            f"The experts agree too little: {measured}, below the gate of {threshold:.2f}. Sharpen the guideline where they differ"
            f"{f' ({differ_on})' if differ_on else ''}; agreement.disputed lists the items with their comments. "
            "If that does not help, more crowd labels serve better here than more expert labels.",
        )
    wider = (kappa.high - kappa.low) / 2 / max(abs(kappa.value - threshold), 1e-9)
    more = kappa.n * (wider**2 - 1)  # the interval narrows with the square root of the items
    if more > MANY_ITEMS:
        ask = "The experts are about at the gate, so no number of items that is worth it will tell: read the disputed ones and decide."
    else:
        ask = f"If it stays there, some {max(10, round(more, -1)):,.0f} more items labelled by two experts or more would settle it."
    return Gate(
        "cannot_say_yet",
        f"Cannot say yet whether the experts agree enough: {measured} lies across the gate of {threshold:.2f}. {ask}",
    )
