-- No held-out record, no text equal to one and no record that holds most of one is in an arm of the evaluation.
-- asset: eval_report
with heldout as (
  select r.text_hash from eval_report.arms as a join cleaned.records as r using (record_id) where len(a.heldout_in) > 0
)
select
  a.record_id  -- a record that is trained on though it, or its text, is held out
from eval_report.arms as a
join cleaned.records as r using (record_id)
where (a.is_in_everything or a.is_in_curated or a.is_in_random) and (
    r.text_hash in (select text_hash from heldout) or a.record_id in (select record_id from eval_report.leaks)
  )
