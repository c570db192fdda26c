-- One row per batch: one version of one file of a source, as it was read.
-- A file whose bytes and reader settings have not changed since its last batch makes no new one.
-- incoming(batch_id, source, source_uri, path, file_hash, file_bytes, ingested_at, run_id, rows_read, rows_added, rows_known, rows_rejected, previous_batch_id, notes, source_config): the reader's account of the file
select
  batch_id::varchar as batch_id,        -- hash of source, file, contents, reader settings and the batch before it
  source::varchar as source,            -- name of the source
  source_uri::varchar as source_uri,    -- the file, relative to the source, the same on every machine
  path::varchar as path,                -- where the file was read from
  file_hash::varchar as file_hash,      -- SHA-256 of its bytes
  file_bytes::bigint as file_bytes,     -- its size as stored, in bytes
  ingested_at::timestamptz as ingested_at,  -- when it was read
  run_id::varchar as run_id,            -- the Dagster run that read it
  rows_read::bigint as rows_read,       -- rows found: added + known + rejected
  rows_added::bigint as rows_added,     -- rows that are new in raw.records
  rows_known::bigint as rows_known,     -- rows that an earlier version of the file already brought
  rows_rejected::bigint as rows_rejected,  -- rows that could not be read: see raw.rejects
  previous_batch_id::varchar as previous_batch_id,  -- the batch of this file's version before, if it changed
  notes::varchar[] as notes,            -- what a reader of this row should know, in sentences
  source_config::json as source_config  -- the reader settings of the source
from incoming
