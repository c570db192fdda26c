-- One row per rater whose labels stand beside the experts' (crowd, source, language model), and one per role for all of them together.
-- incoming(role, rater, items, same_share, kappa, low, high): held against the settled expert labels; from expert_labels.current(record_id, rater, role, label), expert_labels.items(label)
select
  role::varchar as role,              -- crowd or llm
  rater::varchar as rater,            -- who; null for the role's majority
  items::bigint as items,             -- records with their label and a settled expert label
  same_share::double as same_share,   -- share of them with the same class
  kappa::double as kappa,             -- Cohen's kappa with the experts; null is undefined
  low::double as low,                 -- lower end of its 95 % bootstrap interval
  high::double as high                -- upper end
from incoming
