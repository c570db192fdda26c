-- One row: whether the experts agree enough for few labels of theirs to serve better than many crowd labels.
-- incoming(verdict, kappa, low, high, gate, items, guideline_version, sentence): agreement.summary against the task's expert_gate; from expert_labels.current(record_id, rater, label, guideline_version), label_task.tasks(settings, guideline_version)
select
  verdict::varchar as verdict,                      -- pass, below, cannot_say_yet or unknown
  kappa::double as kappa,                           -- mean pairwise kappa of the experts
  low::double as low,                               -- lower end of its 95 % bootstrap interval
  high::double as high,                             -- upper end
  gate::double as gate,                             -- what it is held against
  items::bigint as items,                           -- items with labels of two experts or more
  guideline_version::varchar as guideline_version,  -- only labels made under this version count, or an unknown one
  sentence::varchar as sentence                     -- the verdict, and what to do
from incoming
