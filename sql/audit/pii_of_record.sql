-- One row per type of personal data found in a record, and what became of it.
-- $record_id: our id of the record
select
  type,                 -- the type
  action,               -- keep, mask, pseudonymise or drop
  count(*) as findings  -- places where it was found
from cleaned.pii
where record_id = $record_id
group by type, action
order by findings desc, type
