-- One row per basis that was fitted, the newest in force: what lexical vectors are projected on. None after an erasure, until the next is fitted.
-- incoming(basis, method_version, seed, dimensions_wanted, dimensions, ngrams, texts, pool_texts, fitted_at): the fit; from filtered.records(text)
select
  basis::varchar as basis,                          -- hash of its n-grams and directions
  method_version::int as method_version,            -- version of algorithms/lexical.py that fitted it
  seed::bigint as seed,                             -- seed of the sample and of the decomposition
  dimensions_wanted::int as dimensions_wanted,      -- dimensions by the config
  dimensions::int as dimensions,                    -- dimensions it has: fewer for a handful of texts
  ngrams::bigint as ngrams,                         -- n-grams it knows
  texts::bigint as texts,                           -- texts it was fitted on
  pool_texts::bigint as pool_texts,                 -- texts there were then: it is fitted anew once they have doubled
  fitted_at::timestamptz as fitted_at               -- when
from incoming
