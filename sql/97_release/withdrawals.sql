-- One row per release and erasure that took a record of it: the release is not to be used any more.
-- Append-only. The release's folder is not touched: it is elsewhere by now; who has it must be told.
-- incoming(release_id, withdrawn_at, why, erasure_id): the releases that held an erased record; from release.records(release_id)
select
  release_id::varchar as release_id,          -- the release
  withdrawn_at::timestamptz as withdrawn_at,  -- when
  why::varchar as why,                        -- why, in a sentence
  erasure_id::varchar as erasure_id           -- the erasure
from incoming
