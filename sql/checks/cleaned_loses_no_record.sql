-- Every record given to cleaned is handed on or has a dropping decision, never both and never neither.
-- asset: cleaned
with dropped as (
  select distinct record_id from ledger.current_decisions where stage = 'cleaned' and verdict = 'drop'
)
select
  i.record_id,                                                            -- a record given to cleaned
  i.record_id in (select record_id from cleaned.records) as is_handed_on,  -- whether it is in cleaned.records
  i.record_id in (select record_id from dropped) as is_dropped            -- whether a decision drops it
from raw.records as i
where (i.record_id in (select record_id from cleaned.records)) = (i.record_id in (select record_id from dropped))
union all
select record_id, true, null from cleaned.records where record_id not in (select record_id from raw.records)
union all
select record_id, null, true from dropped where record_id not in (select record_id from raw.records)
