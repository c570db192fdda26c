-- One row per record that no arm trains on because it holds most of a held-out record: inside a longer text, or with other words about it.
-- Near-duplicates of held-out records (deduped.pairs) stay out of the arms too; they are alike as wholes, these in a part.
-- A held-out text of fewer than eight words has too few n-grams to be looked for.
-- incoming(record_id, heldout_record_id, coverage): the comparison, by algorithms/decontamination.py; from cleaned.records(text)
select
  record_id::varchar as record_id,                  -- our id of the record
  heldout_record_id::varchar as heldout_record_id,  -- the held-out record of which it holds most
  coverage::double as coverage                      -- share of the word n-grams the model is read on there, common ones aside, that it holds, 0 to 1
from incoming
