-- One row per estimator of density that was tried: how well it ranks records as the exact kernel sum does.
-- incoming(estimator, kernel, bandwidth, rank_correlation, records_compared, seconds, is_chosen): self-test on a sample; from embeddings.vectors(embedding)
select
  estimator::varchar as estimator,              -- exact, references, centroids or race
  kernel::varchar as kernel,                    -- wide, local, or given where the bandwidth was
  bandwidth::double as bandwidth,               -- standard deviation h of the Gaussian kernel exp(-distance² / (2h²))
  rank_correlation::double as rank_correlation, -- Spearman's, with the exact kernel sum at the sample; 1 for exact, and where all exact sums are equal to five digits
  records_compared::bigint as records_compared, -- records of the sample
  seconds::double as seconds,                   -- seconds to fit it and score the sample
  is_chosen::boolean as is_chosen               -- whether density.scores are its
from incoming
