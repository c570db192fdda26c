-- One row per record with its text repaired: encoding, Unicode form, HTML to text, template residue, personal data.
-- incoming(record_id, text, label, steps, cleaned_original, dropped_for): cleaned records; from raw.records(text, original, label)
-- decided: the records that cleaning drops
select
  r.record_id,                           -- our id of the record
  r.source,                              -- name of the source
  r.source_record_id,                    -- the owner's id; file:row where the owner gives none
  r.source_uri,                          -- the file, relative to the source
  r.source_row,                          -- row in the file, from 1
  r.kind,                                -- document, html, instruction, preference, reward or chat
  i.label,                               -- the owner's label, if any, personal data masked
  r.license,                             -- licence of the record, as its owner states it
  r.record_time,                         -- the owner's time of the record, as written
  i.text,                                -- the text after cleaning, personal data masked
  left(sha256(i.text), 32) as text_hash, -- what embeddings and scores of this text are cached under
  i.steps as cleaning_steps,             -- which repairs changed the text, in order; empty if none did
  left(sha256(r.text), 32) as raw_text_hash,  -- hash of the text before cleaning
  i.cleaned_original                     -- of a record with turns that more than repairs changed: the JSON to read its turns from; else null
from raw.records as r
join incoming as i using (record_id)
where r.record_id not in (select record_id from decided)
