-- Every record given to curated_set is handed on or has a dropping decision, never both and never neither.
-- asset: curated_set
with dropped as (
  select distinct record_id from ledger.current_decisions where stage = 'curated_set' and verdict = 'drop'
)
select
  i.record_id,                                                            -- a record given to curated_set
  i.record_id in (select record_id from curated_set.records) as is_handed_on,  -- whether it is in curated_set.records
  i.record_id in (select record_id from dropped) as is_dropped            -- whether a decision drops it
from filtered.records as i
where (i.record_id in (select record_id from curated_set.records)) = (i.record_id in (select record_id from dropped))
union all
select record_id, true, null from curated_set.records where record_id not in (select record_id from filtered.records)
union all
select record_id, null, true from dropped where record_id not in (select record_id from filtered.records)
