-- One row per benchmark that was looked for: its items, and the records that hold one.
with dropped as (
  select record_id
  from ledger.current_decisions
  where stage = 'filtered' and verdict = 'drop' and rule = 'contaminated'
),
found as (
  select
    m.benchmark,
    count(distinct m.item_id) filter (d.record_id is not null) as items_found,
    count(distinct d.record_id) as records_dropped,
    count(distinct m.record_id) filter (d.record_id is null) as records_with_less
  from contamination.matches as m
  left join dropped as d on d.record_id = m.record_id
  group by m.benchmark
),
looked_for as (
  select benchmark, count(distinct item_id) as items, count(distinct item_id) filter (ngrams - common_ngrams >= 3) as items_looked_for
  from contamination.parts
  group by benchmark
)
select
  l.benchmark,                                          -- the benchmark
  l.items,                                              -- its items
  l.items_looked_for,                                   -- those with a part long enough to be looked for
  coalesce(f.items_found, 0) as items_found,            -- items that a dropped record holds
  coalesce(f.records_dropped, 0) as records_dropped,    -- records dropped for it
  coalesce(f.records_with_less, 0) as records_with_less -- records that hold some of an item, but no more than is allowed
from looked_for as l
left join found as f on f.benchmark = l.benchmark
order by l.benchmark
