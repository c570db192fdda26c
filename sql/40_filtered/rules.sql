-- One row per rule in force: the signal it reads, the bound it sets, and the records it speaks about.
-- Published thresholds: Gopher (Rae et al. 2021, arXiv 2112.11446, appendix A1) and FineWeb (Penedo et al. 2024,
-- arXiv 2406.17557, section 3.6). They were made for English web documents; scripts, languages, kinds and short_text
-- say where each still makes sense.
-- A threshold set to null switches its rule off. A value on the threshold passes.
-- $rule_sets: the sets in force, of gopher_quality, gopher_repetition and fineweb
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
-- $max_benchmark_coverage: greatest share of a benchmark item's word n-grams that a record may hold (ours .5; PaLM counts an item as contaminated from .7)
-- $max_newline_word_ratio: most newlines per word (FineWeb .3)

with every_rule(rule, rule_set, signal, at_least, at_most, scripts, languages, kinds, short_text, why) as (
  values
    ('gopher_min_words', 'gopher_quality', 'words', $min_words::double, null::double,
      null::varchar[], null::varchar[], ['document', 'html'], false,
      'A page of a few words is a stub, a caption or an error message.'),
    ('gopher_max_words', 'gopher_quality', 'words', null, $max_words,
      null, null, ['document', 'html'], true, 'A page this long is a dump of data or of many documents.'),
    -- Syllable blocks, Han characters and abjads make shorter words: 3 to 10 is a bound for alphabets.
    ('gopher_min_mean_word_chars', 'gopher_quality', 'mean_word_chars', $min_mean_word_chars, null,
      ['Latin', 'Cyrillic', 'Greek'], null, ['document', 'html'], false,
      'Very short words on average are codes, tables or broken spacing.'),
    ('gopher_max_mean_word_chars', 'gopher_quality', 'mean_word_chars', null, $max_mean_word_chars,
      ['Latin', 'Cyrillic', 'Greek'], null, ['document', 'html'], false,
      'Very long words on average are links, keys or lost spaces.'),
    ('gopher_max_hash_symbol_ratio', 'gopher_quality', 'hash_symbol_ratio', null, $max_hash_symbol_ratio,
      null, null, ['document', 'html'], false, 'Many # are tags or markup, not sentences.'),
    ('gopher_max_ellipsis_ratio', 'gopher_quality', 'ellipsis_ratio', null, $max_ellipsis_ratio,
      null, null, ['document', 'html'], false, 'Many ellipses are teasers cut short.'),
    ('gopher_max_bullet_line_ratio', 'gopher_quality', 'bullet_line_ratio', null, $max_bullet_line_ratio,
      null, null, ['document', 'html'], false, 'Nothing but bullets is a menu or an index.'),
    ('gopher_max_ellipsis_line_ratio', 'gopher_quality', 'ellipsis_line_ratio',
      null, $max_ellipsis_line_ratio,
      null, null, ['document', 'html'], false, 'Lines that break off are a list of teasers.'),
    ('gopher_min_alpha_word_ratio', 'gopher_quality', 'alpha_word_ratio', $min_alpha_word_ratio, null,
      null, null, ['document', 'html'], false, 'Words without letters are tables, scores or prices.'),
    ('gopher_min_stop_words', 'gopher_quality', 'stop_words', $min_stop_words, null,
      ['Latin'], ['en', 'und'], ['document', 'html'], false,
      'English prose cannot do without the, be, to, of, and, that, have, with.'),

    ('gopher_max_duplicate_paragraph_ratio', 'gopher_repetition', 'duplicate_paragraph_ratio',
      null, $max_duplicate_paragraph_ratio,
      null, null, ['document', 'html'], true, 'Paragraphs said twice are a template or a crawler''s error.'),
    ('gopher_max_duplicate_paragraph_char_ratio', 'gopher_repetition', 'duplicate_paragraph_char_ratio',
      null, $max_duplicate_paragraph_char_ratio,
      null, null, ['document', 'html'], true, 'Much of the text is in paragraphs said twice.'),
    ('gopher_max_duplicate_line_ratio', 'gopher_repetition', 'duplicate_line_ratio',
      null, $max_duplicate_line_ratio,
      null, null, ['document', 'html'], true, 'Lines said twice are a template or boilerplate.'),
    ('gopher_max_duplicate_line_char_ratio', 'gopher_repetition', 'duplicate_line_char_ratio',
      null, $gopher_max_duplicate_line_char_ratio,
      null, null, ['document', 'html'], true, 'Much of the text is in lines said twice.'),
    ('gopher_max_top_2gram_char_ratio', 'gopher_repetition', 'top_2gram_char_ratio',
      null, $max_top_2gram_char_ratio,
      null, null, ['document', 'html'], false, 'One pair of words makes up much of the text.'),
    ('gopher_max_top_3gram_char_ratio', 'gopher_repetition', 'top_3gram_char_ratio',
      null, $max_top_3gram_char_ratio,
      null, null, ['document', 'html'], false, 'One run of 3 words makes up much of the text.'),
    ('gopher_max_top_4gram_char_ratio', 'gopher_repetition', 'top_4gram_char_ratio',
      null, $max_top_4gram_char_ratio,
      null, null, ['document', 'html'], false, 'One run of 4 words makes up much of the text.'),
    ('gopher_max_duplicate_5gram_char_ratio', 'gopher_repetition', 'duplicate_5gram_char_ratio',
      null, $max_duplicate_5gram_char_ratio,
      null, null, ['document', 'html'], true, 'Much of the text repeats runs of 5 words.'),
    ('gopher_max_duplicate_6gram_char_ratio', 'gopher_repetition', 'duplicate_6gram_char_ratio',
      null, $max_duplicate_6gram_char_ratio,
      null, null, ['document', 'html'], true, 'Much of the text repeats runs of 6 words.'),
    ('gopher_max_duplicate_7gram_char_ratio', 'gopher_repetition', 'duplicate_7gram_char_ratio',
      null, $max_duplicate_7gram_char_ratio,
      null, null, ['document', 'html'], true, 'Much of the text repeats runs of 7 words.'),
    ('gopher_max_duplicate_8gram_char_ratio', 'gopher_repetition', 'duplicate_8gram_char_ratio',
      null, $max_duplicate_8gram_char_ratio,
      null, null, ['document', 'html'], true, 'Much of the text repeats runs of 8 words.'),
    ('gopher_max_duplicate_9gram_char_ratio', 'gopher_repetition', 'duplicate_9gram_char_ratio',
      null, $max_duplicate_9gram_char_ratio,
      null, null, ['document', 'html'], true, 'Much of the text repeats runs of 9 words.'),
    ('gopher_max_duplicate_10gram_char_ratio', 'gopher_repetition', 'duplicate_10gram_char_ratio',
      null, $max_duplicate_10gram_char_ratio,
      null, null, ['document', 'html'], true, 'Much of the text repeats runs of 10 words.'),

    -- An answer repeats its question by nature: the bounds above would drop one Alpaca record in six. A question said
    -- twice, whole, is at most half of the text; beyond that something loops.
    ('conversation_max_duplicate_5gram_char_ratio', 'gopher_repetition', 'duplicate_5gram_char_ratio', null, $conversation_max_duplicate_5gram_char_ratio,
      null, null, ['instruction', 'preference', 'reward', 'chat'], true,
      'More than half of the text repeats runs of 5 words: it loops.'),

    -- FineWeb's rules describe the layout of a web page.
    ('fineweb_min_terminal_punctuation_line_ratio', 'fineweb', 'terminal_punctuation_line_ratio',
      $min_terminal_punctuation_line_ratio, null,
      null, null, ['document', 'html'], false, 'Lines without an end of sentence are menus, headings and lists.'),
    ('fineweb_max_short_line_ratio', 'fineweb', 'short_line_ratio', null, $max_short_line_ratio,
      null, null, ['document', 'html'], false, 'Short lines are menus, headings and lists.'),
    ('fineweb_max_duplicate_line_char_ratio', 'fineweb', 'duplicate_line_char_ratio',
      null, $max_duplicate_line_char_ratio,
      null, null, ['document', 'html'], false, 'A page that repeats whole lines is mostly its template.'),
    ('fineweb_max_newline_word_ratio', 'fineweb', 'newline_word_ratio', null, $max_newline_word_ratio,
      null, null, ['document', 'html'], false, 'A new line every few words is a list.'),

    -- Whatever the rule sets are, a benchmark's items stay out.
    ('contaminated', 'decontamination', 'benchmark_coverage', null, $max_benchmark_coverage,
      null, null, null, true, 'It holds most of a benchmark''s item: what is learned from it would be taken for skill.')
)

select
  rule,        -- name of the rule, as in the decisions it makes
  rule_set,    -- the published set it is from: gopher_quality, gopher_repetition or fineweb; or decontamination
  signal,      -- the column of filtered.signals it reads; benchmark_coverage is the greatest of contamination.matches
  at_least,    -- a smaller value drops the record; null for an upper bound
  at_most,     -- a greater value drops the record; null for a lower bound
  scripts,     -- scripts it speaks about; null means all
  languages,   -- languages (as guessed) it speaks about, 'und' for not known; null means all
  kinds,       -- kinds of record it speaks about; null means all
  short_text,  -- whether it also speaks about sources of short texts (comments, titles, reviews)
  why          -- what a record is that breaks it
from every_rule
where (list_contains($rule_sets, rule_set) or rule_set = 'decontamination') and coalesce(at_least, at_most) is not null
