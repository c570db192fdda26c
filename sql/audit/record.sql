-- One row: a record with where it came from and what reading and cleaning did.
-- $record_id: our id of the record
select
  r.record_id,          -- our id of the record
  r.source,             -- name of the source
  r.source_record_id,   -- the owner's id
  r.has_owner_id,       -- whether that id is the owner's own
  r.source_uri,         -- the file
  r.source_row,         -- row in the file
  r.kind,               -- kind of record
  r.label,              -- the owner's label
  r.license,            -- its licence
  r.record_time,        -- the owner's time of it
  b.path,               -- where the file was read from
  b.file_hash,          -- SHA-256 of the file
  b.ingested_at,        -- when it was read
  b.run_id,             -- by which run
  len(r.text) as chars, -- characters before cleaning
  left(r.text, 300) as text  -- its first 300 characters
from raw.records as r
join raw.batches as b using (batch_id)
where r.record_id = $record_id
