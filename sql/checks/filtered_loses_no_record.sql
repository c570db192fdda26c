-- Every record given to filtered is handed on or has a dropping decision, never both and never neither.
-- asset: filtered
with dropped as (
  select distinct record_id from ledger.current_decisions where stage = 'filtered' and verdict = 'drop'
)
select
  i.record_id,                                                            -- a record given to filtered
  i.record_id in (select record_id from filtered.records) as is_handed_on,  -- whether it is in filtered.records
  i.record_id in (select record_id from dropped) as is_dropped            -- whether a decision drops it
from deduped.records as i
where (i.record_id in (select record_id from filtered.records)) = (i.record_id in (select record_id from dropped))
union all
select record_id, true, null from filtered.records where record_id not in (select record_id from deduped.records)
union all
select record_id, null, true from dropped where record_id not in (select record_id from deduped.records)
