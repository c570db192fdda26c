-- One row per record that an id means: ours (or its first characters), or the owner's.
-- $id: record_id, a prefix of it of at least eight characters, or the owner's id
select
  record_id,         -- our id of the record
  source,            -- name of the source
  source_record_id,  -- the owner's id
  source_uri,        -- the file
  source_row         -- row in the file
from raw.records
where record_id = $id or source_record_id = $id or (len($id) >= 8 and starts_with(record_id, $id))
order by source, source_uri, source_row
limit 20
