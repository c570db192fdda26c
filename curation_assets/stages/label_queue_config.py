"""The settings of `label_queue`."""

from enum import Enum

import dagster as dg
from pydantic import Field

from curation_assets.algorithms.label_queue import NEAR_DUPLICATE, PAIR_SHARE, RANDOM_SHARE, UNCERTAIN_SHARE
from curation_assets.algorithms.new_concept import FALSE_ALARM, LEAST_RATIO


class Only(str, Enum):
    """Which records may be queued."""

    everything = "everything"
    new_concept = "new_concept"


class LabelQueueConfig(dg.Config):
    """What the experts are given next."""

    only: Only = Field(
        default=Only.everything,
        description="everything: the whole pool. new_concept: only records of batches that came after the last round was queued, and "
        "of these only such as the older records do not cover; nothing is queued where there are none.",
    )
    pair_share: float = Field(
        default=PAIR_SHARE, ge=0, description="Share of pairs across the border between predicted classes."
    )
    uncertain_share: float = Field(
        default=UNCERTAIN_SHARE, ge=0, description="Share of records of which the model is least sure, kept apart."
    )
    random_share: float = Field(
        default=RANDOM_SHARE,
        ge=0,
        description="Share drawn at random from all: by it the model is measured for the whole pool, with an interval from some 50 of "
        "them on that evaluate: 830 labelled items at the defaults. More gets there sooner. The three are normalised.",
    )
    near_duplicate_cosine: float = Field(
        default=NEAR_DUPLICATE,
        gt=0,
        le=1,
        description="Two records more alike than this, in embedding and words together, are never both queued.",
    )
    new_concept_false_alarm: float = Field(
        default=FALSE_ALARM,
        gt=0,
        lt=1,
        description="new_concept: chance of finding any where the new batches are like the old ones.",
    )
    new_concept_least_ratio: float = Field(
        default=LEAST_RATIO,
        gt=1,
        description="new_concept: times as frequent among the new records as among the old that a concept has to be.",
    )
    even_if_open: bool = Field(
        default=False, description="Queue another round also where the last one is not labelled to the end."
    )
    keep_labelling: bool = Field(
        default=False, description="Queue another round also where the stopping rule or the budget says it is enough."
    )
    seed: int = Field(default=0, description="Seed of the random share and of the clusters.")
