-- Every record to which experts gave different classes, and that no adjudicator has settled, is in agreement.disputed, once.
-- asset: agreement
select
  i.record_id,                    -- a record that is missing or repeated
  count(d.record_id) as listed    -- its rows in agreement.disputed
from expert_labels.items as i
left join agreement.disputed as d on d.record_id = i.record_id
where i.is_disputed
group by i.record_id
having count(d.record_id) <> 1
