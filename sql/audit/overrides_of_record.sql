-- One row per verdict a person gave on a record, or on an earlier version of it that it goes with (overrides_in_force.sql), the oldest first.
-- $record_id: our id of the record
with alike as (
  select same.record_id, same.kind
  from raw.records as one
  join raw.records as same using (source, source_record_id, has_owner_id, text, kind)
  where one.record_id = $record_id
)
select
  e.verdict,      -- keep, drop or none
  e.reason,       -- why
  e.decided_by,   -- who
  e.decided_at    -- when
from overrides.entries as e
join alike using (record_id)
where e.record_id = $record_id or e.verdict <> 'keep' or kind in ('document', 'html', 'instruction')
order by e.decided_at
