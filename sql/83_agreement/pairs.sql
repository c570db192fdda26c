-- One row per pair of experts who have both given some record a class: how far they agree.
-- incoming(rater, other_rater, items, same_share, kappa, low, high): algorithms/agreement.py; from expert_labels.current(record_id, rater, label)
select
  rater::varchar as rater,              -- one of them, the earlier by name
  other_rater::varchar as other_rater,  -- the other
  items::bigint as items,               -- items both have given a class
  same_share::double as same_share,     -- share of them given the same class
  kappa::double as kappa,               -- Cohen's kappa; null is undefined: both gave one and the same class throughout
  low::double as low,                   -- lower end of its 95 % bootstrap interval
  high::double as high                  -- upper end
from incoming
