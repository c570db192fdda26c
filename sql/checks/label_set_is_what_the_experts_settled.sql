-- Every settled record of the pool is in the label set with that label and half, once, and no other record is.
-- asset: label_set
with settled as (
  select i.record_id, i.label, i.half
  from expert_labels.items as i
  where i.label is not null and i.record_id in (select record_id from filtered.records)
)
select
  coalesce(s.record_id, r.record_id) as record_id,  -- a record that is missing, repeated, or not as settled
  any_value(s.label) as settled_label,              -- the experts' label
  any_value(r.label) as label,                      -- the set's
  count(r.record_id) as rows                        -- its rows in the set
from settled as s
full join label_set.records as r on r.record_id = s.record_id and r.label = s.label and r.half = s.half
group by coalesce(s.record_id, r.record_id), s.record_id
having count(r.record_id) <> 1 or s.record_id is null
