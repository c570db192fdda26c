-- One row per record that was compared, kept or not: its place in the order of survival.
-- A later run reads it to tell which records are new or ranked otherwise; only what is connected with those is compared again.
-- incoming(record_id, text_hash, quality, override, rank, comparisons_skipped): records as ranked; from cleaned.records(record_id, text_hash), quality_scores.scores(quality), overrides.entries(verdict)
select
  record_id::varchar as record_id,                   -- our id of the record
  text_hash::varchar as text_hash,                   -- hash of its cleaned text
  quality::double as quality,                        -- what `highest_quality` ranked it by; null for other survivors and where there is none
  override::varchar as override,                     -- what a person said of it: keep, drop or null
  rank::bigint as rank,                              -- 0 is the first to be kept
  comparisons_skipped::bigint as comparisons_skipped -- kept records it was not compared with, for max_comparisons were before them
from incoming
