-- One row per record on which a person's verdict is in force.
-- A verdict is on what the record says, so it goes with it: when the owner gives the same text under the same id (without ids: at the same
-- place of the same file) with another licence, label or time, that is another record to us and the same to the person. A keep stays
-- behind where more stands beside the text than the person may have seen: a rejected answer, a system prompt, a score.
with alike as (
  select e.entered_id, r.record_id, r.kind
  from (
    select record_id as entered_id, source, source_record_id, has_owner_id, text, kind
    from raw.records
    where record_id in (select record_id from overrides.entries)
  ) as e
  join raw.records as r using (source, source_record_id, has_owner_id, text, kind)
)
select
  alike.record_id,                                 -- our id of the record
  max_by(verdict, (decided_at, e.rowid)) as verdict,        -- keep or drop
  max_by(reason, (decided_at, e.rowid)) as reason,          -- why
  max_by(decided_by, (decided_at, e.rowid)) as decided_by,  -- who said so
  max(decided_at) as decided_at                    -- when
from overrides.entries as e
join alike on alike.entered_id = e.record_id
where e.record_id = alike.record_id or verdict <> 'keep' or kind in ('document', 'html', 'instruction')
group by alike.record_id
having max_by(verdict, (decided_at, e.rowid)) <> 'none'
order by alike.record_id
