-- One row per figure of the report: how large the sets are and of which classes, what they took, and who agrees with whom.
-- incoming(section, figure, class, round, value, low, high, n, sentence): counted and collected; from label_task.tasks(classes), filtered.records(record_id), label_set.records(label, half, weight), label_set.raters(kappa, low, high), expert_labels.current(rater, seconds), agreement.gate(kappa, low, high, sentence), label_model.rounds(model_kappa, expert_kappa, stop_sentence)
select
  section::varchar as section,    -- sets, effort, kappa or stop
  figure::varchar as figure,      -- what is counted or measured
  class::varchar as class,        -- of which class; null for all
  round::integer as round,        -- after which round; null for the state of things
  value::double as value,         -- the figure; null is undefined or unknown
  low::double as low,             -- lower end of its 95 % interval, where it has one
  high::double as high,           -- upper end
  n::bigint as n,                 -- records, or labels, that it rests on
  sentence::varchar as sentence   -- the same in words
from incoming
