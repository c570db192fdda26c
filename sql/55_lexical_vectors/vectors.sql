-- One row per text: its words and spellings as a vector, projected on the basis in force.
-- Appended chunk by chunk while the stage runs, and begun anew with a new basis.
-- incoming(text_hash, basis, lexical_vector): vectors of one chunk; from filtered.records(text), lexical_vectors.ngrams(idf, direction)
select
  text_hash::varchar as text_hash,          -- hash of the cleaned text
  basis::varchar as basis,                  -- the basis, as in lexical_vectors.bases
  lexical_vector::float[] as lexical_vector -- unit vector
from incoming
