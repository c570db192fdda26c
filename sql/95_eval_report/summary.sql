-- One row per held-out slice: the comparison in numbers and in words.
-- incoming(slice, curated, random, everything, difference, difference_low, difference_high, seeds, verdict): the comparison; from eval_report.results(value)
select
  slice::varchar as slice,                    -- held-out text it was measured on
  curated::double as curated_perplexity,      -- mean perplexity over the seeds, trained on the curated set
  random::double as random_perplexity,        -- the same, trained on a random set
  everything::double as everything_perplexity,  -- the same, trained on everything
  difference::double as difference,           -- curated minus random: negative is better
  difference_low::double as difference_low,   -- lower end of its 95 % interval over the seeds and over the held-out records
  difference_high::double as difference_high, -- upper end
  seeds::integer as seeds,                    -- training runs an arm
  verdict::varchar as verdict                 -- the finding in a sentence
from incoming
