-- One row per measure of the experts' agreement: over all classes, and for more than two classes each class against the rest.
-- incoming(measure, class, guideline_version, value, low, high, n, undefined_share, note): algorithms/agreement.py; from expert_labels.current(record_id, rater, label, guideline_version), label_task.tasks(classes, settings, guideline_version)
select
  measure::varchar as measure,                      -- mean_pairwise_kappa, fleiss_kappa or krippendorff_alpha
  class::varchar as class,                          -- the class held against all others; null for all classes as they are
  guideline_version::varchar as guideline_version,  -- only labels made under this version, or an unknown one; null: under whichever
  value::double as value,                           -- the coefficient; null is undefined or not applicable, and never 1
  low::double as low,                               -- lower end of its 95 % bootstrap interval
  high::double as high,                             -- upper end
  n::bigint as n,                                   -- items with labels of two experts or more
  undefined_share::double as undefined_share,       -- share of the bootstrap's resamples in which it was undefined
  note::varchar as note                             -- what to know in reading it
from incoming
