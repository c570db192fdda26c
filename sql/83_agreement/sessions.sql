-- One row per expert and session of labelling on the page: whether the last third of their answers is worse than the first.
-- incoming(rater, session, started_at, ended_at, answers, compared_early, compared_late, agreement_early, agreement_late, difference, low, high, leaned_to, leaning_early, leaning_late, seconds_early, seconds_late, p_value, adjusted_p_value, is_alarm, verdict): algorithms/rater_drift.py; from expert_labels.current(record_id, rater, answer, label, seconds, labelled_at), expert_labels.items(reason)
select
  rater::varchar as rater,                      -- who
  session::integer as session,                  -- their session, from 1; a long pause starts another
  started_at::timestamptz as started_at,        -- first answer
  ended_at::timestamptz as ended_at,            -- last answer
  answers::bigint as answers,                   -- answers in it
  compared_early::bigint as compared_early,     -- labels of the first third on records where the others have a majority
  compared_late::bigint as compared_late,       -- of the last third
  agreement_early::double as agreement_early,   -- share of them that are the others' majority, first third
  agreement_late::double as agreement_late,     -- last third
  difference::double as difference,             -- last third less first
  low::double as low,                           -- lower end of its 95 % interval
  high::double as high,                         -- upper end
  leaned_to::varchar as leaned_to,              -- the class given against the others' majority more often late than early
  leaning_early::double as leaning_early,       -- share of the compared so given, first third
  leaning_late::double as leaning_late,         -- last third
  seconds_early::double as seconds_early,       -- median seconds an answer took, first third
  seconds_late::double as seconds_late,         -- last third
  p_value::double as p_value,                   -- smaller p-value of the two tests: agreement falls, leaning to one class grows; null where too few
  adjusted_p_value::double as adjusted_p_value, -- the same, adjusted for all tests of all raters and sessions (Holm)
  is_alarm::boolean as is_alarm,                -- whether it is below the false alarm rate
  verdict::varchar as verdict                   -- in words
from incoming
