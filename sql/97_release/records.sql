-- One row per record of a release and file that holds it: where in the release a record stands.
-- Append-only. A record is in one split; it may be in several formats.
-- $release_id: the release
-- incoming(record_id, split, format, file, position): what was written where; from curated_set.records(record_id, position), deduped.pairs(record_id, matched_record_id), raw.records(original), cleaned.records(cleaning_steps, cleaned_original), filtered.signals(language), quality_scores.scores(judge)
select
  $release_id::varchar as release_id,  -- the release
  i.record_id::varchar as record_id,   -- our id of the record
  i.split::varchar as split,           -- train, validation or test
  i.format::varchar as format,         -- text, alpaca, sharegpt, messages, prompt_completion, preference, reward or classification
  i.file::varchar as file,             -- the Parquet file in the folder; the JSONL beside it holds the same rows
  i.position::bigint as position,      -- row in the file, from 0
  r.text_hash                          -- hash of the text it was released with
from incoming as i
join curated_set.records as r using (record_id)
