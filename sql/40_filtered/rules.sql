-- One row per rule in force: the signal it reads, the bound it sets, and the records it speaks about.
-- Published thresholds: Gopher (Rae et al. 2021, arXiv 2112.11446, appendix A1), FineWeb (Penedo et al. 2024, arXiv 2406.17557,
-- sections 3.3 and 3.6), C4 (Raffel et al. 2020, section 2.2, and its reference code), RefinedWeb (Penedo et al. 2023, arXiv
-- 2306.01116, appendix G.2), Self-Instruct (Wang et al. 2023, arXiv 2212.10560; its rules
-- read the instruction alone, without its input and the turns before it). They were made for English; scripts,
-- languages, kinds and short_text say where each still makes sense. The sets korean and toxicity are ours.
-- A threshold set to null switches its rule off. A value on the threshold passes.
-- $rule_sets: the sets in force, of language, gopher_quality, gopher_repetition, fineweb, c4, refinedweb, self_instruct, korean and toxicity
-- $languages: codes of the languages wanted, 'und' for texts too short to tell; null for any
-- $min_language_score: least probability of the language, where languages are chosen (FineWeb .65)
-- $min_words: fewest words of a document (Gopher 50)
-- $max_words: most words of a document (Gopher 100,000)
-- $min_mean_word_chars: least mean characters of a word (Gopher 3)
-- $max_mean_word_chars: greatest mean characters of a word (Gopher 10)
-- $max_hash_symbol_ratio: most '#' per word (Gopher .1)
-- $max_ellipsis_ratio: most ellipses per word (Gopher .1)
-- $max_bullet_line_ratio: greatest share of lines that start with a bullet (Gopher .9)
-- $max_ellipsis_line_ratio: greatest share of lines that end in an ellipsis (Gopher .3)
-- $min_alpha_word_ratio: least share of words with a letter (Gopher .8)
-- $min_stop_words: fewest of Gopher's eight English stop words (Gopher 2)
-- $max_duplicate_paragraph_ratio: greatest share of repeated paragraphs (Gopher .3)
-- $max_duplicate_paragraph_char_ratio: greatest share of characters in repeated paragraphs (Gopher .2)
-- $max_duplicate_line_ratio: greatest share of repeated lines (Gopher .3)
-- $gopher_max_duplicate_line_char_ratio: greatest share of characters in repeated lines, any record (Gopher .2)
-- $max_top_2gram_char_ratio: greatest share of characters in the most frequent run of 2 words (Gopher .2)
-- $max_top_3gram_char_ratio: of 3 words (Gopher .18)
-- $max_top_4gram_char_ratio: of 4 words (Gopher .16)
-- $max_duplicate_5gram_char_ratio: greatest share of characters in repeated runs of 5 words (Gopher .15)
-- $max_duplicate_6gram_char_ratio: of 6 words (Gopher .14)
-- $max_duplicate_7gram_char_ratio: of 7 words (Gopher .13)
-- $max_duplicate_8gram_char_ratio: of 8 words (Gopher .12)
-- $max_duplicate_9gram_char_ratio: of 9 words (Gopher .11)
-- $max_duplicate_10gram_char_ratio: of 10 words (Gopher .1)
-- $conversation_max_duplicate_5gram_char_ratio: greatest share of characters in repeated runs of 5 words of an instruction, preference, reward or chat record (ours .5)
-- $min_terminal_punctuation_line_ratio: least share of lines that end in terminal punctuation (FineWeb .12)
-- $max_short_line_ratio: greatest share of lines of at most 30 characters (FineWeb .67)
-- $max_duplicate_line_char_ratio: greatest share of characters in repeated lines, web documents (FineWeb .01)
-- $max_benchmark_coverage: greatest share of a benchmark item's word n-grams that a record may hold (ours .5; PaLM counts an item as contaminated from .7); what is paraphrased or translated holds none
-- $max_newline_word_ratio: most newlines per token (FineWeb .3)
-- $min_alpha_token_ratio: least share of tokens with a letter where punctuation marks are tokens, as DataTrove reads Gopher's .8; null (off) by default
-- $datatrove_max_top_2gram_char_ratio: greatest share of characters in the most frequent run of 2 words, or in the first if none occurs twice, as DataTrove reads Gopher's .2; null (off) by default
-- $datatrove_max_top_3gram_char_ratio: of 3 words, as DataTrove reads Gopher's .18; null (off) by default
-- $datatrove_max_top_4gram_char_ratio: of 4 words, as DataTrove reads Gopher's .16; null (off) by default
-- $min_c4_sentences: fewest sentences in the lines that C4's line rules keep (its reference code 3)
-- $datatrove_min_c4_sentences: the same where lines of 3 words may stay, as in C4's paper and DataTrove (5 in both); null (off) by default
-- $max_lorem_ipsum_lines: most lines with "lorem ipsum" (C4 0)
-- $max_curly_bracket_lines: most lines with a curly bracket (C4 0)
-- $max_c4_dropped_line_ratio: greatest share of lines that C4's line rules drop; null (off) by default, C4 drops the lines
-- $max_refinedweb_flagged_word_ratio: greatest share of words in lines of navigation, counters and capitals (RefinedWeb .05)
-- $min_request_words: fewest words of an instruction without its input (Self-Instruct's code 4)
-- $max_request_words: most words of an instruction without its input (Self-Instruct's code 150)
-- $max_blocked_request_words: most words of an instruction, without its input, that ask for more than text: image, graph, … (Self-Instruct 0)
-- $max_response_repeats_request: 0 drops a response that is its request, its input or both again (Self-Instruct 0)
-- $max_responses_to_request: most different responses to the same request (Self-Instruct 1)
-- $min_korean_ending_ratio: least share of Korean words that end in a particle or an ending (ours .3)
-- $max_jamo_ratio: greatest share of letters that are lone jamo, ㅋㅋㅋ (ours .3)
-- $max_toxic_word_ratio: greatest share of words that are in the lexicons of abuse (ours .05)
-- $max_slur_words: most slurs; null (off) by default, for they stand in quotations and histories too
-- $max_threat_words: most threats; null (off) by default
-- $max_toxicity: greatest probability of abuse by the classifier fitted on filtered.toxicity_examples (ours .9)

with every_rule(rule, rule_set, setting, signal, at_least, at_most, scripts, languages, kinds, short_text, why) as (
  values
    ('gopher_min_words', 'gopher_quality', 'min_words', 'word_tokens', $min_words::double, null::double,
      null::varchar[], null::varchar[], ['document', 'html'], false,
      'A page of a few words is a stub, a caption or an error message.'),
    ('gopher_max_words', 'gopher_quality', 'max_words', 'word_tokens', null, $max_words,
      null, null, ['document', 'html'], true, 'A page this long is a dump of data or of many documents.'),
    -- Syllable blocks, Han characters and abjads make shorter words: 3 to 10 is a bound for alphabets.
    ('gopher_min_mean_word_chars', 'gopher_quality', 'min_mean_word_chars', 'mean_word_token_chars', $min_mean_word_chars, null,
      ['Latin', 'Cyrillic', 'Greek'], null, ['document', 'html'], false,
      'Very short words on average are codes, tables or broken spacing.'),
    ('gopher_max_mean_word_chars', 'gopher_quality', 'max_mean_word_chars', 'mean_word_token_chars', null, $max_mean_word_chars,
      ['Latin', 'Cyrillic', 'Greek'], null, ['document', 'html'], false,
      'Very long words on average are links, keys or lost spaces.'),
    ('gopher_max_hash_symbol_ratio', 'gopher_quality', 'max_hash_symbol_ratio', 'hash_token_ratio', null, $max_hash_symbol_ratio,
      null, null, ['document', 'html'], false, 'Many # are tags or markup, not sentences.'),
    ('gopher_max_ellipsis_ratio', 'gopher_quality', 'max_ellipsis_ratio', 'ellipsis_token_ratio', null, $max_ellipsis_ratio,
      null, null, ['document', 'html'], false, 'Many ellipses are teasers cut short.'),
    ('gopher_max_bullet_line_ratio', 'gopher_quality', 'max_bullet_line_ratio', 'bullet_line_ratio', null, $max_bullet_line_ratio,
      null, null, ['document', 'html'], false, 'Nothing but bullets is a menu or an index.'),
    ('gopher_max_ellipsis_line_ratio', 'gopher_quality', 'max_ellipsis_line_ratio', 'ellipsis_line_ratio',
      null, $max_ellipsis_line_ratio,
      null, null, ['document', 'html'], false, 'Lines that break off are a list of teasers.'),
    ('gopher_min_alpha_word_ratio', 'gopher_quality', 'min_alpha_word_ratio', 'alpha_word_ratio', $min_alpha_word_ratio, null,
      null, null, ['document', 'html'], false, 'Words without letters are tables, scores or prices.'),
    ('gopher_min_stop_words', 'gopher_quality', 'min_stop_words', 'stop_word_tokens', $min_stop_words, null,
      ['Latin'], ['en', 'und'], ['document', 'html'], false,
      'English prose cannot do without the, be, to, of, and, that, have, with.'),

    ('gopher_max_duplicate_paragraph_ratio', 'gopher_repetition', 'max_duplicate_paragraph_ratio', 'duplicate_paragraph_ratio',
      null, $max_duplicate_paragraph_ratio,
      null, null, ['document', 'html'], true, 'Paragraphs said twice are a template or a crawler''s error.'),
    ('gopher_max_duplicate_paragraph_char_ratio', 'gopher_repetition', 'max_duplicate_paragraph_char_ratio', 'duplicate_paragraph_char_ratio',
      null, $max_duplicate_paragraph_char_ratio,
      null, null, ['document', 'html'], true, 'Much of the text is in paragraphs said twice.'),
    ('gopher_max_duplicate_line_ratio', 'gopher_repetition', 'max_duplicate_line_ratio', 'duplicate_line_ratio',
      null, $max_duplicate_line_ratio,
      null, null, ['document', 'html'], true, 'Lines said twice are a template or boilerplate.'),
    ('gopher_max_duplicate_line_char_ratio', 'gopher_repetition', 'gopher_max_duplicate_line_char_ratio', 'duplicate_line_char_ratio',
      null, $gopher_max_duplicate_line_char_ratio,
      null, null, ['document', 'html'], true, 'Much of the text is in lines said twice.'),
    ('gopher_max_top_2gram_char_ratio', 'gopher_repetition', 'max_top_2gram_char_ratio', 'top_2gram_token_ratio',
      null, $max_top_2gram_char_ratio,
      null, null, ['document', 'html'], false, 'One pair of words makes up much of the text.'),
    ('gopher_max_top_3gram_char_ratio', 'gopher_repetition', 'max_top_3gram_char_ratio', 'top_3gram_token_ratio',
      null, $max_top_3gram_char_ratio,
      null, null, ['document', 'html'], false, 'One run of 3 words makes up much of the text.'),
    ('gopher_max_top_4gram_char_ratio', 'gopher_repetition', 'max_top_4gram_char_ratio', 'top_4gram_token_ratio',
      null, $max_top_4gram_char_ratio,
      null, null, ['document', 'html'], false, 'One run of 4 words makes up much of the text.'),
    ('gopher_max_duplicate_5gram_char_ratio', 'gopher_repetition', 'max_duplicate_5gram_char_ratio', 'duplicate_5gram_token_ratio',
      null, $max_duplicate_5gram_char_ratio,
      null, null, ['document', 'html'], true, 'Much of the text repeats runs of 5 words.'),
    ('gopher_max_duplicate_6gram_char_ratio', 'gopher_repetition', 'max_duplicate_6gram_char_ratio', 'duplicate_6gram_token_ratio',
      null, $max_duplicate_6gram_char_ratio,
      null, null, ['document', 'html'], true, 'Much of the text repeats runs of 6 words.'),
    ('gopher_max_duplicate_7gram_char_ratio', 'gopher_repetition', 'max_duplicate_7gram_char_ratio', 'duplicate_7gram_token_ratio',
      null, $max_duplicate_7gram_char_ratio,
      null, null, ['document', 'html'], true, 'Much of the text repeats runs of 7 words.'),
    ('gopher_max_duplicate_8gram_char_ratio', 'gopher_repetition', 'max_duplicate_8gram_char_ratio', 'duplicate_8gram_token_ratio',
      null, $max_duplicate_8gram_char_ratio,
      null, null, ['document', 'html'], true, 'Much of the text repeats runs of 8 words.'),
    ('gopher_max_duplicate_9gram_char_ratio', 'gopher_repetition', 'max_duplicate_9gram_char_ratio', 'duplicate_9gram_token_ratio',
      null, $max_duplicate_9gram_char_ratio,
      null, null, ['document', 'html'], true, 'Much of the text repeats runs of 9 words.'),
    ('gopher_max_duplicate_10gram_char_ratio', 'gopher_repetition', 'max_duplicate_10gram_char_ratio', 'duplicate_10gram_token_ratio',
      null, $max_duplicate_10gram_char_ratio,
      null, null, ['document', 'html'], true, 'Much of the text repeats runs of 10 words.'),

    -- An answer repeats its question by nature: the bounds above would drop one Alpaca record in six. A question said
    -- twice, whole, is at most half of the text; beyond that something loops.
    ('conversation_max_duplicate_5gram_char_ratio', 'gopher_repetition', 'conversation_max_duplicate_5gram_char_ratio', 'duplicate_5gram_token_ratio', null, $conversation_max_duplicate_5gram_char_ratio,
      null, null, ['instruction', 'preference', 'reward', 'chat'], true,
      'More than half of the text repeats runs of 5 words: it loops.'),

    -- FineWeb's rules describe the layout of a web page.
    ('fineweb_min_terminal_punctuation_line_ratio', 'fineweb', 'min_terminal_punctuation_line_ratio', 'terminal_mark_line_ratio',
      $min_terminal_punctuation_line_ratio, null,
      -- Not Thai, Lao, Tibetan or Myanmar, whose sentences end in a space or in other marks.
      ['Latin', 'Hangul', 'Han', 'Kana', 'Cyrillic', 'Arabic', 'Devanagari', 'Greek', 'Hebrew', 'none'], null,
      ['document', 'html'], false, 'Lines without an end of sentence are menus, headings and lists.'),
    ('fineweb_max_short_line_ratio', 'fineweb', 'max_short_line_ratio', 'short_line_ratio', null, $max_short_line_ratio,
      -- 30 Han characters or kana are a sentence.
      ['Latin', 'Hangul', 'Cyrillic', 'Arabic', 'Devanagari', 'Greek', 'Hebrew', 'Thai', 'other', 'none'], null, ['document', 'html'], false, 'Short lines are menus, headings and lists.'),
    ('fineweb_max_duplicate_line_char_ratio', 'fineweb', 'max_duplicate_line_char_ratio', 'duplicate_line_char_ratio',
      null, $max_duplicate_line_char_ratio,
      null, null, ['document', 'html'], false, 'A page that repeats whole lines is mostly its template.'),
    ('fineweb_max_newline_word_ratio', 'fineweb', 'max_newline_word_ratio', 'newline_token_ratio', null, $max_newline_word_ratio,
      null, null, ['document', 'html'], false, 'A new line every few words is a list.'),

    ('language_min_score', 'language', 'min_language_score', 'wanted_language_score',
      case when $languages::varchar[] is not null then $min_language_score end, null,
      null, null, null, true, 'The text is in no language that was asked for, or not surely (0: in another one).'),

    ('datatrove_min_alpha_token_ratio', 'gopher_quality', 'min_alpha_token_ratio', 'alpha_token_ratio', $min_alpha_token_ratio, null,
      null, null, ['document', 'html'], false, 'Tokens without letters are punctuation, tables, scores or prices.'),
    ('datatrove_max_top_2gram_char_ratio', 'gopher_repetition', 'datatrove_max_top_2gram_char_ratio', 'datatrove_top_2gram_token_ratio',
      null, $datatrove_max_top_2gram_char_ratio,
      null, null, ['document', 'html'], false, 'One pair of words makes up much of the text.'),
    ('datatrove_max_top_3gram_char_ratio', 'gopher_repetition', 'datatrove_max_top_3gram_char_ratio', 'datatrove_top_3gram_token_ratio',
      null, $datatrove_max_top_3gram_char_ratio,
      null, null, ['document', 'html'], false, 'One run of 3 words makes up much of the text.'),
    ('datatrove_max_top_4gram_char_ratio', 'gopher_repetition', 'datatrove_max_top_4gram_char_ratio', 'datatrove_top_4gram_token_ratio',
      null, $datatrove_max_top_4gram_char_ratio,
      null, null, ['document', 'html'], false, 'One run of 4 words makes up much of the text.'),

    -- C4's lines end in Latin punctuation and its phrases are English.
    ('c4_min_sentences', 'c4', 'min_c4_sentences', 'c4_sentences', $min_c4_sentences, null,
      ['Latin'], ['en', 'und'], ['document', 'html'], false, 'Hardly a line of the page is a sentence.'),
    ('datatrove_min_c4_sentences', 'c4', 'datatrove_min_c4_sentences', 'datatrove_c4_sentences', $datatrove_min_c4_sentences, null,
      ['Latin'], ['en', 'und'], ['document', 'html'], false, 'Hardly a line of the page is a sentence.'),
    ('c4_max_lorem_ipsum_lines', 'c4', 'max_lorem_ipsum_lines', 'lorem_ipsum_lines', null, $max_lorem_ipsum_lines,
      null, null, ['document', 'html'], true, 'A page with filler text is not finished.'),
    ('c4_max_curly_bracket_lines', 'c4', 'max_curly_bracket_lines', 'curly_bracket_lines', null, $max_curly_bracket_lines,
      null, null, ['document', 'html'], true, 'A curly bracket is source code or a template.'),
    ('c4_max_dropped_line_ratio', 'c4', 'max_c4_dropped_line_ratio', 'c4_dropped_line_ratio', null, $max_c4_dropped_line_ratio,
      ['Latin'], ['en', 'und'], ['document', 'html'], false, 'Most lines of the page are no sentences.'),

    ('refinedweb_max_flagged_word_ratio', 'refinedweb', 'max_refinedweb_flagged_word_ratio', 'refinedweb_flagged_word_ratio',
      null, $max_refinedweb_flagged_word_ratio,
      ['Latin'], ['en', 'und'], ['document', 'html'], false, 'Navigation, counters and capitals are in the text.'),

    ('self_instruct_min_request_words', 'self_instruct', 'min_request_words', 'request_words', $min_request_words, null,
      ['Latin'], ['en', 'und'], ['instruction'], true, 'A request of three words says too little.'),
    ('self_instruct_max_request_words', 'self_instruct', 'max_request_words', 'request_words', null, $max_request_words,
      ['Latin'], ['en', 'und'], ['instruction'], true, 'A request this long is a text pasted in, not an instruction.'),
    ('self_instruct_max_blocked_words', 'self_instruct', 'max_blocked_request_words', 'blocked_request_words', null, $max_blocked_request_words,
      ['Latin'], ['en', 'und'], ['instruction'], true, 'It asks for an image, a graph or a file, which text cannot answer.'),
    ('self_instruct_max_response_repeats', 'self_instruct', 'max_response_repeats_request', 'response_repeats_request',
      null, $max_response_repeats_request,
      null, null, ['instruction'], true, 'The response only repeats the request or its input.'),
    ('self_instruct_max_responses_to_request', 'self_instruct', 'max_responses_to_request', 'responses_to_request',
      null, $max_responses_to_request,
      null, null, ['instruction'], true, 'The same request has other responses too: one of them is wrong, or it asks too little.'),

    ('korean_min_ending_ratio', 'korean', 'min_korean_ending_ratio', 'korean_ending_ratio', $min_korean_ending_ratio, null,
      ['Hangul'], ['ko'], ['document', 'html'], false, 'Korean prose cannot do without particles and endings: this is a list of nouns.'),
    ('korean_max_jamo_ratio', 'korean', 'max_jamo_ratio', 'jamo_ratio', null, $max_jamo_ratio,
      ['Hangul'], null, null, true, 'Mostly laughter and sobs (ㅋㅋㅋ, ㅠㅠ).'),

    ('toxicity_max_word_ratio', 'toxicity', 'max_toxic_word_ratio', 'toxic_word_ratio', null, $max_toxic_word_ratio,
      null, ['en', 'ko', 'und'], null, true, 'Many of its words are abuse.'),
    ('toxicity_max_slur_words', 'toxicity', 'max_slur_words', 'slur_words', null, $max_slur_words,
      null, ['en', 'ko', 'und'], null, true, 'It has slurs.'),
    ('toxicity_max_threat_words', 'toxicity', 'max_threat_words', 'threat_words', null, $max_threat_words,
      null, ['en', 'ko', 'und'], null, true, 'It has threats.'),
    ('toxicity_max_probability', 'toxicity', 'max_toxicity', 'toxicity', null, $max_toxicity,
      null, null, null, true, 'Your classifier takes it for abuse.'),

    -- Whatever the rule sets are, a benchmark's items stay out.
    ('contaminated', 'decontamination', 'max_benchmark_coverage', 'benchmark_coverage', null, $max_benchmark_coverage,
      null, null, null, true, 'It holds most of a benchmark''s item: what is learned from it would be taken for skill.')
)

select
  rule,        -- name of the rule, as in the decisions it makes
  rule_set,    -- the set it is from: a published one, or language, korean, toxicity or decontamination
  setting,     -- the field of the configuration of filtered that sets its bound
  signal,      -- the column of filtered.signals it reads; benchmark_coverage is the greatest of contamination.matches
  at_least,    -- a smaller value drops the record; null for an upper bound
  at_most,     -- a greater value drops the record; null for a lower bound
  scripts,     -- scripts it speaks about; null means all
  languages,   -- languages it speaks about, 'und' for not known; null means all
  kinds,       -- kinds of record it speaks about; null means all
  short_text,  -- whether it also speaks about sources of short texts (comments, titles, reviews)
  why          -- what a record is that breaks it
from every_rule
where (list_contains($rule_sets, rule_set) or rule_set = 'decontamination') and coalesce(at_least, at_most) is not null
