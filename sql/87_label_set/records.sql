-- One row per record with a settled expert label: the curated label set, to train and to evaluate on.
-- Records that have left the pool since they were labelled are not in it.
-- incoming(record_id, weight): algorithms/label_rounds.pool_weights; from expert_labels.items(round, sampling_probability)
select
  r.record_id,             -- our id of the record
  r.source,                -- name of the source
  r.source_record_id,      -- the owner's id; file:row where the owner gives none
  r.license,               -- licence of the record, as its owner states it
  r.text,                  -- the cleaned text
  r.text_hash,             -- hash of the text
  i.label,                 -- the class: the adjudicator's, else the one most experts gave
  i.votes,                 -- the classes the experts gave: [{rater, label}]
  i.raters,                -- experts who gave a class
  i.agreement_share,       -- share of the experts for the label
  i.is_adjudicated,        -- whether an adjudicator settled it
  i.reason,                -- why it was chosen: boundary_pair, uncertain, random, top_of_score or new_concept; null where it was never queued
  i.round,                 -- round in which it was queued
  i.partner_record_id,     -- the other record of the pair it was shown in
  i.distance,              -- cosine distance to it
  i.half,                  -- train, or evaluate: never train on those
  i.sampling_probability,  -- chance it had of being in its round's random share; null for items chosen otherwise
  n.weight::double as weight,  -- what it stands for in an estimate over the whole pool: 1 / sampling_probability in its own round's estimate, 1 in every later round's, averaged over rounds with a random share; 0 for items chosen otherwise in the last of them; null where never queued, or nothing was drawn at random
  i.guideline_versions,    -- versions of the guideline its labels were made under, those known
  i.is_stale_guideline,    -- whether one of its labels was made under another version than the one in force
  i.labelled_at            -- when it was answered last
from expert_labels.items as i
join filtered.records as r on r.record_id = i.record_id
join incoming as n on n.record_id = i.record_id
where i.label is not null
