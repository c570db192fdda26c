-- One row per record that would enter or leave filtered.records if some of its rules were others, and why.
-- whatif.decisions holds what the changed rules would drop. The other rules decide as they did in the run in force.
-- A record enters if every rule that drops it now is a changed one that would let it pass; clusters are those of now, so
-- a record that enters has none. A record with a person's verdict in force is kept or dropped by that, whatever the rules say:
-- it is no row here.
-- $changed: names of the rules that are others, or that would be no more
-- $overridden: ids of the records on which a person's verdict is in force
with now as (
  select record_id, rule, value, threshold
  from ledger.current_decisions
  where stage = 'filtered' and verdict = 'drop'
),
still as (
  select distinct record_id from now where not list_contains($changed::varchar[], rule)
  union
  select record_id from whatif.decisions
),
changes as (
  select record_id, 'enter' as change, min_by({'rule': rule, 'value': value, 'threshold': threshold}, rule) as reason
  from now
  where record_id not in (select record_id from still)
  group by record_id
  union all
  select record_id, 'leave', min_by({'rule': rule, 'value': value, 'threshold': threshold}, rule)
  from whatif.decisions
  where record_id not in (select record_id from now)
  group by record_id
)
select
  c.record_id,                      -- our id of the record
  c.change,                         -- enter or leave
  r.source,                         -- its source
  s.language,                       -- its language; und where it cannot be told
  a.cluster_id,                     -- its cluster; null for a record that enters, and where there are no clusters
  p.title as cluster,               -- what the cluster is called
  c.reason.rule as rule,            -- the first rule by name that drops it now, or would drop it
  c.reason.value as value,          -- what that rule measured
  c.reason.threshold as threshold   -- what it held that against: now for a record that enters, then for one that leaves
from changes as c
join deduped.records as r using (record_id)
left join filtered.signals as s using (record_id)
left join clusters.assignments as a using (record_id)
left join clusters.profiles as p using (cluster_id)
where not list_contains($overridden::varchar[], c.record_id)
order by c.change, c.record_id
