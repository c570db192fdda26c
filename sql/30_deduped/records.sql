-- One row per record that is no exact and no near-duplicate of a kept record.
-- decided: the duplicates
select
  record_id,         -- our id of the record
  source,            -- name of the source
  source_record_id,  -- the owner's id; file:row where the owner gives none
  source_uri,        -- the file, relative to the source
  source_row,        -- row in the file, from 1
  kind,              -- document, html, instruction, preference, reward or chat
  label,             -- the owner's label, if any
  license,           -- licence of the record, as its owner states it
  record_time,       -- the owner's time of the record, as written
  text,              -- the cleaned text
  text_hash          -- what embeddings and scores of this text are cached under
from cleaned.records
where record_id not in (select record_id from decided)
