"""What the rules of `filtered` are set to, and which records their signals are of.

For the stage, and for `curate whatif`, which asks without loading Dagster.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from curation_assets.algorithms.language import CODES, UNKNOWN
from curation_assets.tables import tables
from curation_assets.warehouse import Warehouse

CODE_VERSION = "8"
"""Code version of the stage."""

RULE_SETS = (
    "language", "gopher_quality", "gopher_repetition", "fineweb", "c4", "refinedweb", "self_instruct", "korean", "toxicity",
)  # fmt: skip
DEFAULT_RULE_SETS = RULE_SETS[:4]


def _threshold(published: float | None, name: str) -> float | None:
    """A rule's threshold with its published value as default; null in a config switches the rule off."""
    return Field(default=published, description=tables()["filtered.rules"].params[name])


class RuleSettings(BaseModel):
    """Rule sets and thresholds; the defaults are the published ones. A threshold of null switches its rule off."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rule_sets: list[str] = Field(
        default=list(DEFAULT_RULE_SETS), description=f"The rule sets to apply, of {', '.join(RULE_SETS)}."
    )
    languages: list[str] | None = Field(
        default=None,
        description="Codes of the languages wanted (ISO 639-1: en, ko, …), und for texts too short to tell. Default: any.",
    )
    short_text_median_words: int = Field(
        default=50,
        description="A source whose median record has fewer words holds short texts (comments, titles, reviews): rules "
        "about a document's length and lines do not apply to it.",
    )

    @field_validator("rule_sets")
    @classmethod
    def _known(cls, names: list[str]) -> list[str]:
        if unknown := set(names) - set(RULE_SETS):
            raise ValueError(f"rule_sets has {sorted(unknown)}; choose from {', '.join(RULE_SETS)}")
        return names

    @field_validator("languages")
    @classmethod
    def _told(cls, codes: list[str] | None) -> list[str] | None:
        if unknown := sorted({*(codes or ())} - {*CODES, UNKNOWN}):
            raise ValueError(
                f"no text is ever found to be in {', '.join(unknown)}: codes are en, ko, ja, zh, …, "
                f"or {UNKNOWN} for texts too short to tell"
            )
        return codes

    min_words: int | None = _threshold(50, "min_words")
    max_words: int | None = _threshold(100_000, "max_words")
    min_mean_word_chars: float | None = _threshold(3, "min_mean_word_chars")
    max_mean_word_chars: float | None = _threshold(10, "max_mean_word_chars")
    max_hash_symbol_ratio: float | None = _threshold(0.1, "max_hash_symbol_ratio")
    max_ellipsis_ratio: float | None = _threshold(0.1, "max_ellipsis_ratio")
    max_bullet_line_ratio: float | None = _threshold(0.9, "max_bullet_line_ratio")
    max_ellipsis_line_ratio: float | None = _threshold(0.3, "max_ellipsis_line_ratio")
    min_alpha_word_ratio: float | None = _threshold(0.8, "min_alpha_word_ratio")
    min_stop_words: int | None = _threshold(2, "min_stop_words")
    max_duplicate_paragraph_ratio: float | None = _threshold(0.3, "max_duplicate_paragraph_ratio")
    max_duplicate_paragraph_char_ratio: float | None = _threshold(0.2, "max_duplicate_paragraph_char_ratio")
    max_duplicate_line_ratio: float | None = _threshold(0.3, "max_duplicate_line_ratio")
    gopher_max_duplicate_line_char_ratio: float | None = _threshold(0.2, "gopher_max_duplicate_line_char_ratio")
    max_top_2gram_char_ratio: float | None = _threshold(0.2, "max_top_2gram_char_ratio")
    max_top_3gram_char_ratio: float | None = _threshold(0.18, "max_top_3gram_char_ratio")
    max_top_4gram_char_ratio: float | None = _threshold(0.16, "max_top_4gram_char_ratio")
    max_duplicate_5gram_char_ratio: float | None = _threshold(0.15, "max_duplicate_5gram_char_ratio")
    max_duplicate_6gram_char_ratio: float | None = _threshold(0.14, "max_duplicate_6gram_char_ratio")
    max_duplicate_7gram_char_ratio: float | None = _threshold(0.13, "max_duplicate_7gram_char_ratio")
    max_duplicate_8gram_char_ratio: float | None = _threshold(0.12, "max_duplicate_8gram_char_ratio")
    max_duplicate_9gram_char_ratio: float | None = _threshold(0.11, "max_duplicate_9gram_char_ratio")
    max_duplicate_10gram_char_ratio: float | None = _threshold(0.1, "max_duplicate_10gram_char_ratio")
    conversation_max_duplicate_5gram_char_ratio: float | None = _threshold(
        0.5, "conversation_max_duplicate_5gram_char_ratio"
    )
    min_terminal_punctuation_line_ratio: float | None = _threshold(0.12, "min_terminal_punctuation_line_ratio")
    max_short_line_ratio: float | None = _threshold(0.67, "max_short_line_ratio")
    max_duplicate_line_char_ratio: float | None = _threshold(0.01, "max_duplicate_line_char_ratio")
    max_newline_word_ratio: float | None = _threshold(0.3, "max_newline_word_ratio")
    max_benchmark_coverage: float | None = _threshold(0.5, "max_benchmark_coverage")
    min_language_score: float | None = _threshold(0.65, "min_language_score")
    min_alpha_token_ratio: float | None = _threshold(None, "min_alpha_token_ratio")
    datatrove_max_top_2gram_char_ratio: float | None = _threshold(None, "datatrove_max_top_2gram_char_ratio")
    datatrove_max_top_3gram_char_ratio: float | None = _threshold(None, "datatrove_max_top_3gram_char_ratio")
    datatrove_max_top_4gram_char_ratio: float | None = _threshold(None, "datatrove_max_top_4gram_char_ratio")
    min_c4_sentences: int | None = _threshold(3, "min_c4_sentences")
    datatrove_min_c4_sentences: int | None = _threshold(None, "datatrove_min_c4_sentences")
    max_lorem_ipsum_lines: int | None = _threshold(0, "max_lorem_ipsum_lines")
    max_curly_bracket_lines: int | None = _threshold(0, "max_curly_bracket_lines")
    max_c4_dropped_line_ratio: float | None = _threshold(None, "max_c4_dropped_line_ratio")
    max_refinedweb_flagged_word_ratio: float | None = _threshold(0.05, "max_refinedweb_flagged_word_ratio")
    min_request_words: int | None = _threshold(4, "min_request_words")
    max_request_words: int | None = _threshold(150, "max_request_words")
    max_blocked_request_words: int | None = _threshold(0, "max_blocked_request_words")
    max_response_repeats_request: int | None = _threshold(0, "max_response_repeats_request")
    max_responses_to_request: int | None = _threshold(1, "max_responses_to_request")
    min_korean_ending_ratio: float | None = _threshold(0.3, "min_korean_ending_ratio")
    max_jamo_ratio: float | None = _threshold(0.3, "max_jamo_ratio")
    max_toxic_word_ratio: float | None = _threshold(0.05, "max_toxic_word_ratio")
    max_slur_words: int | None = _threshold(None, "max_slur_words")
    max_threat_words: int | None = _threshold(None, "max_threat_words")
    max_toxicity: float | None = _threshold(0.9, "max_toxicity")

    def rule_params(self) -> dict[str, Any]:
        """The parameters of filtered.rules."""
        return self.model_dump(include=set(RuleSettings.model_fields) - {"short_text_median_words"})


def measurement(warehouse: Warehouse) -> str:
    """Which records signals are of that are measured now, and by which code: how `signals_of` in the notes of a run begins."""
    deduped_run = warehouse.value("select max_by(run_id, finished_at) as run from ledger.runs where stage = 'deduped'")
    return f"deduped by run {deduped_run}, measured by code {CODE_VERSION}"
