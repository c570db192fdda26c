-- One row per lifting of withdrawals: the hash over its rows, computed afresh.
select
  lifted_by,                       -- what took the withdrawals back
  count(*) as lifted,              -- withdrawals it took back
  sha256(string_agg(json_array(erasure_id, lifted_by, reason, epoch_us(lifted_at))::varchar, '' order by erasure_id)) as lifted_hash  -- the hash over them
from erasure.lifted
group by lifted_by
