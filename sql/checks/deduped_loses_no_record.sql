-- Every record given to deduped is handed on or has a dropping decision, never both and never neither.
-- asset: deduped
with dropped as (
  select distinct record_id from ledger.current_decisions where stage = 'deduped' and verdict = 'drop'
)
select
  i.record_id,                                                            -- a record given to deduped
  i.record_id in (select record_id from deduped.records) as is_handed_on,  -- whether it is in deduped.records
  i.record_id in (select record_id from dropped) as is_dropped            -- whether a decision drops it
from cleaned.records as i
where (i.record_id in (select record_id from deduped.records)) = (i.record_id in (select record_id from dropped))
union all
select record_id, true, null from deduped.records where record_id not in (select record_id from cleaned.records)
union all
select record_id, null, true from dropped where record_id not in (select record_id from cleaned.records)
