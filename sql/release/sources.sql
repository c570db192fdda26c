-- One row per file that was read, at its latest version: what it held, and how it was read.
select
  source,                                        -- name of the source
  source_uri,                                    -- the file, relative to the source
  max_by(file_hash, ingested_at) as file_hash,   -- SHA-256 of its bytes
  max_by(file_bytes, ingested_at) as file_bytes, -- its size, in bytes
  max_by(json_merge_patch(source_config, '{"path": null}')::varchar, ingested_at) as settings  -- the reader's settings, without the place
from raw.batches
group by source, source_uri
order by source, source_uri
