-- One row per record that is no exact and no near-duplicate of a kept record.
-- decided: the duplicates, and what the other switches drop
select
  r.record_id,         -- our id of the record
  r.source,            -- name of the source
  r.source_record_id,  -- the owner's id; file:row where the owner gives none
  r.source_uri,        -- the file, relative to the source
  r.source_row,        -- row in the file, from 1
  r.kind,              -- document, html, instruction, preference, reward or chat
  r.label,             -- the owner's label, if any
  r.license,           -- licence of the record, as its owner states it
  r.record_time,       -- the owner's time of the record, as written
  coalesce(s.text, r.text) as text,                -- the cleaned text; without repeated passages where deduped.shortened has it
  coalesce(s.text_hash, r.text_hash) as text_hash  -- what embeddings and scores of this text are cached under
from cleaned.records as r
left join deduped.shortened as s on s.record_id = r.record_id
where r.record_id not in (select record_id from decided)
