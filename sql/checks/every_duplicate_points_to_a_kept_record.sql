-- Every record dropped as a duplicate points to a record that is kept, by a similarity at or above the threshold.
-- The record it points to may be one that was dropped after copies were compared: by a person, with its group, for its instruction or answer, or because
-- nothing of its own was left.
-- asset: deduped
with dropped as (
  select * from ledger.current_decisions where stage = 'deduped' and verdict = 'drop'
),
dropped_later as (
  select record_id from dropped
  where rule in ('override', 'duplicate_group', 'same_instruction', 'same_answer', 'same_after_removal', 'nothing_after_removal')
)
select
  d.record_id,          -- the dropped record
  d.rule,               -- exact_duplicate, near_duplicate, or what was decided after those
  d.value,              -- similarity
  d.threshold,          -- what it was held against
  d.matched_record_id   -- the record it points to
from dropped as d
where d.rule not in ('override', 'duplicate_group', 'nothing_after_removal')
  and (
    d.value < d.threshold
    or d.matched_record_id is null
    or d.matched_record_id not in (
      select record_id from deduped.records
      union all
      select record_id from dropped_later where d.rule in ('exact_duplicate', 'near_duplicate', 'same_instruction', 'same_answer')
    )
  )
