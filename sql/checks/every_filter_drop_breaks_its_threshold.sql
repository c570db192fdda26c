-- Every record a rule drops has a value on the wrong side of that rule's threshold; a person needs none.
-- asset: filtered
select
  d.record_id,  -- the dropped record
  d.rule,       -- the rule
  d.value,      -- what it measured
  d.threshold   -- what the value was held against
from ledger.current_decisions as d
left join filtered.rules as r on r.rule = d.rule
where d.stage = 'filtered' and d.verdict = 'drop' and d.rule <> 'override'
  and not coalesce(d.value < r.at_least or d.value > r.at_most, false)
