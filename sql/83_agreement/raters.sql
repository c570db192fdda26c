-- One row per expert and class, and one per expert for all classes: what they gave, and how it compares with the other experts.
-- incoming(rater, class, labels, share, compared, agreement_share, instead, instead_items, given_more_often, unsure_share, skip_share, median_seconds): held against the majority of the others; from expert_labels.current(record_id, rater, answer, label, seconds)
select
  rater::varchar as rater,                          -- who
  class::varchar as class,                          -- the class they gave; null for all
  labels::bigint as labels,                         -- labels they gave
  share::double as share,                           -- share of this class among their labels
  compared::bigint as compared,                     -- of those, records on which the others have a majority
  agreement_share::double as agreement_share,       -- share of the compared where the others' majority is the same class
  instead::varchar as instead,                      -- the class the others gave most often where it is not
  instead_items::bigint as instead_items,           -- how often
  given_more_often::double as given_more_often,     -- share of the class among their compared labels less its share in the others' majorities: above 0, they lean to it
  unsure_share::double as unsure_share,             -- share of their answers that are unsure; for all classes only
  skip_share::double as skip_share,                 -- share that are skips; for all classes only
  median_seconds::double as median_seconds          -- median seconds an answer took
from incoming
