-- One row per text and kind of sketch: what says which other texts may be near-duplicates of it, computed once.
-- Appended chunk by chunk before records are compared, so a new batch costs its own texts.
-- incoming(text_hash, sketch, word_hash_high, word_hash_low, band_keys): sketches of some texts; from cleaned.records(text)
select
  text_hash::varchar as text_hash,            -- hash of the cleaned text
  sketch::varchar as sketch,                  -- kind of sketch: words a shingle, bands, rows a band, seed, version of the method
  word_hash_high::ubigint as word_hash_high,  -- first half of the hash of its normalised words
  word_hash_low::ubigint as word_hash_low,    -- the other half
  band_keys::ubigint[] as band_keys           -- a key per band; texts with an equal one in a band are compared
from incoming
