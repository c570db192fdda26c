-- One row per rule that drops a record: the value it measured against its threshold.
-- A record that breaks several rules has several rows; one without a row is kept.
-- A source is one of short texts (comments, titles, reviews) if its median record has few words: rules about the
-- length, the lines and the most frequent words of a document say nothing there.
-- $short_text_median_words: median words of a source below which it is one of short texts
-- $languages: codes of the languages wanted, 'und' for texts too short to tell; null for any

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
    signals.word_tokens::double as word_tokens,
    signals.mean_word_token_chars::double as mean_word_token_chars,
    signals.hash_token_ratio::double as hash_token_ratio,
    signals.ellipsis_token_ratio::double as ellipsis_token_ratio,
    signals.bullet_line_ratio::double as bullet_line_ratio,
    signals.ellipsis_line_ratio::double as ellipsis_line_ratio,
    signals.alpha_word_ratio::double as alpha_word_ratio,
    signals.stop_word_tokens::double as stop_word_tokens,
    signals.duplicate_paragraph_ratio::double as duplicate_paragraph_ratio,
    signals.duplicate_paragraph_char_ratio::double as duplicate_paragraph_char_ratio,
    signals.duplicate_line_ratio::double as duplicate_line_ratio,
    signals.duplicate_line_char_ratio::double as duplicate_line_char_ratio,
    signals.top_2gram_token_ratio::double as top_2gram_token_ratio,
    signals.top_3gram_token_ratio::double as top_3gram_token_ratio,
    signals.top_4gram_token_ratio::double as top_4gram_token_ratio,
    signals.duplicate_5gram_token_ratio::double as duplicate_5gram_token_ratio,
    signals.duplicate_6gram_token_ratio::double as duplicate_6gram_token_ratio,
    signals.duplicate_7gram_token_ratio::double as duplicate_7gram_token_ratio,
    signals.duplicate_8gram_token_ratio::double as duplicate_8gram_token_ratio,
    signals.duplicate_9gram_token_ratio::double as duplicate_9gram_token_ratio,
    signals.duplicate_10gram_token_ratio::double as duplicate_10gram_token_ratio,
    signals.datatrove_top_2gram_token_ratio::double as datatrove_top_2gram_token_ratio,
    signals.datatrove_top_3gram_token_ratio::double as datatrove_top_3gram_token_ratio,
    signals.datatrove_top_4gram_token_ratio::double as datatrove_top_4gram_token_ratio,
    signals.terminal_mark_line_ratio::double as terminal_mark_line_ratio,
    signals.short_line_ratio::double as short_line_ratio,
    signals.newline_token_ratio::double as newline_token_ratio,
    signals.alpha_token_ratio::double as alpha_token_ratio,
    signals.c4_sentences::double as c4_sentences,
    signals.datatrove_c4_sentences::double as datatrove_c4_sentences,
    signals.lorem_ipsum_lines::double as lorem_ipsum_lines,
    signals.curly_bracket_lines::double as curly_bracket_lines,
    signals.c4_dropped_line_ratio::double as c4_dropped_line_ratio,
    signals.refinedweb_flagged_word_ratio::double as refinedweb_flagged_word_ratio,
    signals.request_words::double as request_words,
    signals.blocked_request_words::double as blocked_request_words,
    signals.response_repeats_request::double as response_repeats_request,
    -- How many different responses records give to the same request.
    case
      when signals.request_hash is not null
        then count(distinct signals.response_hash) over (partition by signals.request_hash)
    end::double as responses_to_request,
    signals.korean_ending_ratio::double as korean_ending_ratio,
    signals.jamo_ratio::double as jamo_ratio,
    signals.toxic_word_ratio::double as toxic_word_ratio,
    signals.slur_words::double as slur_words,
    signals.threat_words::double as threat_words,
    signals.toxicity::double as toxicity,
    case
      when list_contains($languages::varchar[], signals.language) then coalesce(signals.language_score, 1)
      else 0
    end as wanted_language_score,
    benchmark_coverage.benchmark_coverage::double as benchmark_coverage
  from filtered.signals as signals
  join deduped.records as records on records.record_id = signals.record_id
  left join benchmark_coverage on benchmark_coverage.record_id = signals.record_id
),

long as (
  unpivot measured on
    word_tokens, mean_word_token_chars, hash_token_ratio, ellipsis_token_ratio, bullet_line_ratio,
    ellipsis_line_ratio, alpha_word_ratio, stop_word_tokens, duplicate_paragraph_ratio,
    duplicate_paragraph_char_ratio, duplicate_line_ratio, duplicate_line_char_ratio, top_2gram_token_ratio,
    top_3gram_token_ratio, top_4gram_token_ratio, duplicate_5gram_token_ratio, duplicate_6gram_token_ratio,
    duplicate_7gram_token_ratio, duplicate_8gram_token_ratio, duplicate_9gram_token_ratio, duplicate_10gram_token_ratio,
    datatrove_top_2gram_token_ratio, datatrove_top_3gram_token_ratio, datatrove_top_4gram_token_ratio,
    terminal_mark_line_ratio, short_line_ratio, newline_token_ratio, wanted_language_score, alpha_token_ratio,
    c4_sentences, datatrove_c4_sentences, lorem_ipsum_lines, curly_bracket_lines, c4_dropped_line_ratio, refinedweb_flagged_word_ratio,
    request_words, blocked_request_words, response_repeats_request, responses_to_request, korean_ending_ratio,
    jamo_ratio, toxic_word_ratio, slur_words, threat_words, toxicity,
    benchmark_coverage
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
