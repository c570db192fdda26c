-- Every record dropped as a duplicate points to a record that is kept, by a similarity at or above the threshold.
-- asset: deduped
select
  d.record_id,          -- the dropped record
  d.rule,               -- exact_duplicate or near_duplicate
  d.value,              -- similarity
  d.threshold,          -- what it was held against
  d.matched_record_id   -- the record it points to
from ledger.current_decisions as d
where d.stage = 'deduped' and d.verdict = 'drop'
  and (d.value < d.threshold or d.matched_record_id is null or d.matched_record_id not in (select record_id from deduped.records))
