-- Every record of filtered.records has exactly one row in predicted_labels.predictions, and no other record has.
-- asset: predicted_labels
select
  coalesce(f.record_id, m.record_id) as record_id,  -- a record that is missing, repeated or unknown
  count(m.record_id) as rows                        -- its rows in predicted_labels.predictions
from filtered.records as f
full join predicted_labels.predictions as m on m.record_id = f.record_id
group by coalesce(f.record_id, m.record_id), f.record_id
having count(m.record_id) <> 1 or f.record_id is null
