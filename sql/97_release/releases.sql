-- One row per release: an immutable folder of training data, what it is made of, and why it was made.
-- Append-only. The release hash is SHA-256 over what can be made again (data files, upstream tables, code, config, seeds), not
-- over time, place or name: the same inputs, code and config give the same hash.
-- incoming(release_id, release_hash, name, folder, released_at, records, tokens, manifest, run_id, reason, supersedes): the release as written; from curated_set.records(record_id, tokens), eval_report.summary(verdict)
select
  release_id::varchar as release_id,        -- first 16 hex digits of the release hash
  release_hash::varchar as release_hash,    -- SHA-256 over the manifest's reproducible part
  name::varchar as name,                    -- name of the data set, as its card has it
  folder::varchar as folder,                -- where it was written
  released_at::timestamptz as released_at,  -- when
  records::bigint as records,               -- records in it, each counted once
  tokens::bigint as tokens,                 -- their estimated tokens
  manifest::json as manifest,               -- MANIFEST.json as it lies in the folder
  run_id::varchar as run_id,                -- the Dagster run that wrote it
  reason::varchar as reason,                -- why: manual, new data, drift, schedule or erasure
  supersedes::varchar as supersedes         -- the release before it; null for the first
from incoming
