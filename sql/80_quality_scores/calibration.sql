-- One row per bin of the student's score: what it predicted and what the language model answered, on records held out of its fit.
-- Empty unless the judge is a cascade.
-- incoming(bin, records, predicted, answered, answered_low, answered_high): held-out comparison; from quality_scores.answers(yes, no)
select
  bin::integer as bin,                     -- the bin, from 1 (lowest scores)
  records::bigint as records,              -- held-out records in it
  predicted::double as predicted,          -- their mean score by the student
  answered::double as answered,            -- their mean P(yes) by the language model
  answered_low::double as answered_low,    -- lower end of its 95 % interval
  answered_high::double as answered_high   -- upper end
from incoming
