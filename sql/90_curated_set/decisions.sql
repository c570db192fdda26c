-- One row per candidate: selected or not, and by which rule.
-- Rules that drop: override (a person's verdict on the record), cluster_dropped and cluster_review (a person's verdict on its cluster), semantic_duplicate, outlier,
-- cluster_capped, over_quota (the same draw without quotas would take it, or its quota is 0), longer_than_budget (or than
-- its quota's part of it), not_selected.
select
  record_id,                                     -- our id of the record
  if(is_selected, 'keep', 'drop') as verdict,    -- the verdict
  rule,                                          -- how it came about
  value,               -- its draw or rank; the cosine, the outlier score, the cluster's id, its tokens
  threshold,           -- the largest draw that was selected; the cosine, the score or the tokens allowed
  matched_record_id    -- the record it is a semantic duplicate of
from curated_set.scores
