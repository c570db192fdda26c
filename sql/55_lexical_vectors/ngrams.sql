-- One row per n-gram that the basis in force knows. An n-gram stands as a hash: no text is kept here.
-- incoming(basis, ngram, idf, direction): the basis; from filtered.records(text)
select
  basis::varchar as basis,         -- the basis, as in lexical_vectors.bases
  ngram::ubigint as ngram,         -- 64-bit hash of one or two words (highest bit set), or of one to four characters of a word
  idf::float as idf,               -- ln((1 + texts) / (1 + texts with it)) + 1
  direction::float[] as direction  -- its row of the directions that texts are projected on
from incoming
