-- One row per source and look: how far the new records differ from the old ones, and whether that could be chance.
-- The source 'everything' is all of them together. A rule's look counts the records that came to the filters, the others those that came through.
-- incoming(source, look, size, p_value, adjusted_p, is_drift, old_records, new_records, detail, sentence): the comparisons; from embeddings.vectors(embedding), clusters.assignments(cluster_id), filtered.signals(words, language), raw.records(source), deduped.records(record_id), expert_labels.items(label), label_model.models(parameters)
select
  source::varchar as source,            -- name of the source, or everything
  look::varchar as look,                -- classifier, occupancy, novelty, language, kappa, signal:NAME or filter:RULE
  size::double as size,                 -- AUC of telling new from old; PSI over clusters or languages above that by chance; share in new concepts; PSI of the signal or of the rule's drops; fall of kappa
  p_value::double as p_value,           -- chance of as much where nothing changed
  adjusted_p::double as adjusted_p,     -- the same after Holm's correction for all looks of all sources
  is_drift::boolean as is_drift,        -- whether chance hardly explains it and it is large enough to matter
  old_records::bigint as old_records,   -- old records compared
  new_records::bigint as new_records,   -- new records compared
  detail::json as detail,               -- what else was measured
  sentence::varchar as sentence         -- the finding in a sentence
from incoming
