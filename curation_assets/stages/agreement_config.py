"""The settings of `agreement`."""

import dagster as dg
from pydantic import Field

from curation_assets.algorithms.agreement_gate import LEAST_ITEMS


class AgreementConfig(dg.Config):
    """How sure one wants to be."""

    least_items: int = Field(
        default=LEAST_ITEMS, ge=2, description="Items with labels of two experts below which the gate gives no verdict."
    )
    session_gap_minutes: float = Field(
        default=30, gt=0, description="A pause longer than this starts another session of a rater."
    )
    least_compared: int = Field(
        default=10,
        ge=3,
        description="Labels that the first and the last third of a session each need for them to be compared.",
    )
    false_alarm_rate: float = Field(
        default=0.05,
        gt=0,
        lt=1,
        description="Chance that anyone at all is said to drift or tire when nobody does, over all raters and sessions.",
    )
    replicates: int = Field(default=1_000, ge=100, description="Resamples of the bootstrap intervals.")
    seed: int = Field(default=0, description="Seed of the resamples.")
