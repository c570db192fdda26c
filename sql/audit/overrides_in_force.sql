-- One row per record on which a person's verdict is in force.
select
  record_id,                                       -- our id of the record
  max_by(verdict, (decided_at, rowid)) as verdict,        -- keep or drop
  max_by(reason, (decided_at, rowid)) as reason,          -- why
  max_by(decided_by, (decided_at, rowid)) as decided_by,  -- who said so
  max(decided_at) as decided_at                    -- when
from overrides.entries
group by record_id
having max_by(verdict, (decided_at, rowid)) <> 'none'
order by record_id
