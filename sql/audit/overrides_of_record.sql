-- One row per verdict a person gave on a record, the oldest first.
-- $record_id: our id of the record
select
  e.verdict,      -- keep, drop or none
  e.reason,       -- why
  e.decided_by,   -- who
  e.decided_at    -- when
from overrides.entries as e
where e.record_id = $record_id
order by e.decided_at
