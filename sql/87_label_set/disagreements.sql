-- One row per direction in which crowd or language model differ from the experts, and cluster where they do: is it systematic there?
-- incoming(role, given_label, expert_label, cluster_id, words, items, compared, share, overall_share, p_value, q_value, is_systematic, likely_errors, example): settled expert labels against each role's majority; from expert_labels.current(record_id, role, label), expert_labels.items(label), clusters.assignments(cluster_id), clusters.profiles(words), filtered.records(text), predicted_labels.predictions(probabilities)
select
  role::varchar as role,                          -- crowd or llm
  given_label::varchar as given_label,            -- the class its majority gave
  expert_label::varchar as expert_label,          -- the class of the experts
  cluster_id::integer as cluster_id,              -- the cluster of clusters.assignments; null for all together
  words::varchar[] as words,                      -- words most typical of the cluster
  items::bigint as items,                         -- records in it where they differ so
  compared::bigint as compared,                   -- records in it with both labels
  share::double as share,                         -- share of the compared
  overall_share::double as overall_share,         -- the same over all clusters
  p_value::double as p_value,                     -- for a cluster, that so many or more are there if it were like the others (Fisher's exact test); for all together, that they differ this way so much more often than the other way round (exact McNemar test)
  q_value::double as q_value,                     -- the same, adjusted for the number of clusters and directions (Benjamini & Hochberg 1995)
  is_systematic::boolean as is_systematic,        -- whether that is below the false discovery rate
  likely_errors::bigint as likely_errors,         -- records of the pool in it whose label is likely wrong in this direction (label_set.errors)
  example::varchar as example                     -- one of the records where they differ so, cut
from incoming
