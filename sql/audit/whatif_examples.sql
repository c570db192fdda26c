-- One row per record of a list: whose it is and the beginning of its text.
-- $record_ids: the records
-- $chars: characters of the text
select
  record_id,                      -- our id of the record
  source,                         -- its source
  source_record_id,               -- the owner's id
  left(text, $chars) as beginning,  -- the beginning of its text
  length(text) > $chars as is_cut   -- whether there is more
from deduped.records
where list_contains($record_ids::varchar[], record_id)
