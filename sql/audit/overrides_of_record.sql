-- One row per verdict a person gave on a record, or on an earlier version of it that said the same, the oldest first.
-- $record_id: our id of the record
select
  e.verdict,      -- keep, drop or none
  e.reason,       -- why
  e.decided_by,   -- who
  e.decided_at    -- when
from overrides.entries as e
where e.record_id in (
  select same.record_id
  from raw.records as one
  join raw.records as same using (source, source_record_id, has_owner_id, text)
  where one.record_id = $record_id
)
order by e.decided_at
