-- Every record given to curated_set has exactly one decision of it.
-- asset: curated_set
select
  r.record_id,                        -- a record given to curated_set
  count(d.record_id) as decisions,    -- its decisions
  list(d.rule) as rules               -- their rules
from filtered.records as r
left join ledger.current_decisions as d on d.record_id = r.record_id and d.stage = 'curated_set'
group by r.record_id
having count(d.record_id) <> 1
