-- One row per type of personal data and what became of it, over all records that were read; never what it was.
select
  type,                                                -- the type
  action,                                              -- keep, mask, pseudonymise or drop
  count(*) as findings,                                -- places where it was found
  count(distinct record_id) as records,                -- records it was found in
  list_sort(list(distinct engine)) as engines          -- the rules, or the model, that recognised it
from cleaned.pii
group by type, action
order by findings desc, type
