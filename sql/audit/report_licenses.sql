-- One row per licence of the members, as owners state it.
select
  r.license,                            -- the licence; null where none is stated
  count(*) as records,                  -- records under it
  count(*) / sum(count(*)) over () as share,  -- share of the set's records
  list_sort(list(distinct r.source)) as sources  -- their sources
from members as m
join raw.records as r using (record_id)
group by r.license
order by records desc, r.license
