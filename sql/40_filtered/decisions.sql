-- One row per rule that drops a record: the value it measured against its threshold.
-- A record that breaks several rules has several rows; one without a row is kept.
-- A source is one of short texts (comments, titles, reviews) if its median record has few words: rules about the
-- length, the lines and the most frequent words of a document say nothing there.
-- $short_text_median_words: median words of a source below which it is one of short texts

with short_text_sources as (
  select records.source
  from deduped.records as records
  join filtered.signals as signals on signals.record_id = records.record_id
  group by records.source
  having median(signals.words) < $short_text_median_words
),

benchmark_coverage as (
  select record_id, max(coverage) as benchmark_coverage
  from contamination.matches
  group by record_id
),

measured as (
  select
    signals.record_id,
    signals.script,
    signals.language,
    records.kind,
    records.source in (select source from short_text_sources) as is_short_text,
    signals.words::double as words,
    signals.mean_word_chars::double as mean_word_chars,
    signals.hash_symbol_ratio::double as hash_symbol_ratio,
    signals.ellipsis_ratio::double as ellipsis_ratio,
    signals.bullet_line_ratio::double as bullet_line_ratio,
    signals.ellipsis_line_ratio::double as ellipsis_line_ratio,
    signals.alpha_word_ratio::double as alpha_word_ratio,
    signals.stop_words::double as stop_words,
    signals.short_line_ratio::double as short_line_ratio,
    signals.terminal_punctuation_line_ratio::double as terminal_punctuation_line_ratio,
    signals.duplicate_line_char_ratio::double as duplicate_line_char_ratio,
    signals.duplicate_line_ratio::double as duplicate_line_ratio,
    signals.duplicate_paragraph_ratio::double as duplicate_paragraph_ratio,
    signals.duplicate_paragraph_char_ratio::double as duplicate_paragraph_char_ratio,
    signals.newline_word_ratio::double as newline_word_ratio,
    signals.top_2gram_char_ratio::double as top_2gram_char_ratio,
    signals.top_3gram_char_ratio::double as top_3gram_char_ratio,
    signals.top_4gram_char_ratio::double as top_4gram_char_ratio,
    signals.duplicate_5gram_char_ratio::double as duplicate_5gram_char_ratio,
    signals.duplicate_6gram_char_ratio::double as duplicate_6gram_char_ratio,
    signals.duplicate_7gram_char_ratio::double as duplicate_7gram_char_ratio,
    signals.duplicate_8gram_char_ratio::double as duplicate_8gram_char_ratio,
    signals.duplicate_9gram_char_ratio::double as duplicate_9gram_char_ratio,
    signals.duplicate_10gram_char_ratio::double as duplicate_10gram_char_ratio,
    benchmark_coverage.benchmark_coverage::double as benchmark_coverage
  from filtered.signals as signals
  join deduped.records as records on records.record_id = signals.record_id
  left join benchmark_coverage on benchmark_coverage.record_id = signals.record_id
),

long as (
  unpivot measured on
    words, mean_word_chars, hash_symbol_ratio, ellipsis_ratio, bullet_line_ratio, ellipsis_line_ratio, alpha_word_ratio,
    stop_words, short_line_ratio, terminal_punctuation_line_ratio, duplicate_line_char_ratio, duplicate_line_ratio,
    duplicate_paragraph_ratio, duplicate_paragraph_char_ratio, newline_word_ratio, top_2gram_char_ratio,
    top_3gram_char_ratio, top_4gram_char_ratio, duplicate_5gram_char_ratio, duplicate_6gram_char_ratio,
    duplicate_7gram_char_ratio, duplicate_8gram_char_ratio, duplicate_9gram_char_ratio, duplicate_10gram_char_ratio, benchmark_coverage
  into name signal value value
)

select
  long.record_id,                                    -- the record it drops
  'drop' as verdict,                                 -- always 'drop'
  rules.rule,                                        -- the rule it breaks, explained in filtered.rules
  long.value,                                        -- what was measured
  coalesce(rules.at_least, rules.at_most) as threshold,  -- the rule's bound, the last value that passes
  null::varchar as matched_record_id                 -- always null: no other record is involved
from long
join filtered.rules as rules on rules.signal = long.signal
where (long.value < rules.at_least or long.value > rules.at_most)
  and (rules.scripts is null or list_contains(rules.scripts, long.script))
  and (rules.languages is null or list_contains(rules.languages, long.language))
  and (rules.kinds is null or list_contains(rules.kinds, long.kind))
  and (rules.short_text or not long.is_short_text)
