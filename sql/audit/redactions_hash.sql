-- One row per erasure: the hash over its redactions, computed afresh.
select
  erasure_id,                      -- the erasure
  count(*) as redactions,          -- decisions it took an id from
  sha256(string_agg(json_array(run_id, stage, position, hash_before, hash_after)::varchar, '' order by run_id, stage, position))
    as redactions_hash             -- the hash over them
from ledger.redactions
group by erasure_id
