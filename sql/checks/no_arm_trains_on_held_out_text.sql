-- No held-out record, and no text equal to one, is in an arm of the evaluation.
-- asset: eval_report
with heldout as (
  select r.text_hash from eval_report.arms as a join cleaned.records as r using (record_id) where len(a.heldout_in) > 0
)
select
  a.record_id  -- a record that is trained on though it, or its text, is held out
from eval_report.arms as a
join cleaned.records as r using (record_id)
where (a.is_in_everything or a.is_in_curated or a.is_in_random) and r.text_hash in (select text_hash from heldout)
