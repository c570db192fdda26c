-- One row per number that a chained decision should have and none has, or that several have; at most a hundred.
-- A run that counts n decisions has the numbers 1 to n, once each.
with expected as (
  select run_id, stage, max(decisions) as decisions
  from ledger.runs
  where chain_position is not null and decisions > 0
  group by all
),
found as (
  select run_id, stage, position, count(*) as rows
  from ledger.decisions
  where position is not null
  group by all
),
held as (
  select run_id, stage, count(*) as rows, max(position) as last, max(rows) as most from found group by all
),
suspects as (
  select e.run_id, e.stage, greatest(e.decisions, coalesce(h.last, 0)) as last, e.decisions
  from expected as e
  left join held as h using (run_id, stage)
  where coalesce(h.rows, 0) <> e.decisions or h.last <> e.decisions or h.most > 1
  union all
  select h.run_id, h.stage, h.last, 0 from held as h anti join expected as e using (run_id, stage)
)
select
  n.run_id,                         -- the run
  n.stage,                          -- the stage
  n.position,                       -- the number
  coalesce(f.rows, 0) as rows,      -- rows that have it
  n.position <= n.decisions as is_expected  -- whether the run wrote a row of that number
from (select run_id, stage, decisions, unnest(range(1, last + 1)) as position from suspects) as n
left join found as f using (run_id, stage, position)
where (f.rows is null and n.position <= n.decisions) or f.rows > 1 or (f.rows = 1 and n.position > n.decisions)
order by n.run_id, n.stage, n.position
limit 100
