-- One row per record of deduped.records: what the rules and the judge want to know of its text, measured once.
-- Definitions follow DataTrove's gopher_quality, gopher_repetition and fineweb filters (Rae et al. 2021, arXiv
-- 2112.11446, appendix A1; Penedo et al. 2024, arXiv 2406.17557, section 3.6). Where they differ:
-- A word is a whitespace-separated token without the punctuation and symbols at its edges; a token of nothing else is
-- no word.
-- DataTrove's tokenizers also make words of clitics ("don't" is two) and, for the ratios, of punctuation: their share
-- of words with a letter is about .1 lower for the same prose.
-- Chinese, Japanese, Thai, Khmer, … put no space between words: there words is half the letters, or a Chinese article
-- would be shorter than 50 words.
-- Lines are trimmed, and only those with text count; DataTrove counts blank lines too for bullets and ellipses.
-- stop_words counts different words in any case, as the paper reads; DataTrove counts occurrences in lower case.
-- A ratio is 0 to 1 unless said otherwise, and null where there is nothing to divide by (no word, no line): no rule
-- judges a null.
-- incoming(record_id, top_2gram_char_ratio, top_3gram_char_ratio, top_4gram_char_ratio, duplicate_5gram_char_ratio, duplicate_6gram_char_ratio, duplicate_7gram_char_ratio, duplicate_8gram_char_ratio, duplicate_9gram_char_ratio, duplicate_10gram_char_ratio): repeated runs of words, by algorithms/repetition.py; from deduped.records(record_id, text)

with bared as (
  -- RE2's \w and \s know ASCII only, hence \p{…}; the white space is that of Python's str.split().
  select
    records.record_id,
    records.text,
    incoming.* exclude (record_id),
    length(text) as chars,
    strlen(text) = length(text) as is_ascii,
    trim(regexp_replace(
      ' ' || text || ' ',
      '[\p{P}\p{S}]*(?:[\s\x0b\x1c-\x1f\x{85}\p{Z}]+[\p{P}\p{S}]*)+', ' ', 'g'
    )) as bare,
    list_filter(
      list_transform(
        string_split(text, chr(10)), lambda line: trim(line, ' ' || chr(9) || chr(13) || chr(160) || chr(12288))
      ),
      lambda line: line <> ''
    ) as lines,
    case
      when contains(text, chr(10) || chr(10)) then string_split_regex(trim(text, ' ' || chr(10)), '\n{2,}')
      else [text]
    end as paragraphs
  from deduped.records
  left join incoming using (record_id)
),

split as (
  select
    *,
    case when bare = '' then []::varchar[] else string_split(bare, ' ') end as tokens,
    case when len(lines) > 1 then list_distinct(lines) else lines end as different_lines,
    case when len(paragraphs) > 1 then list_distinct(paragraphs) else paragraphs end as different_paragraphs,
    chars - length(replace(text, chr(10), '')) as newlines,
    length(replace(bare, ' ', '')) as word_chars,
    -- Letters are what is left of the words without their digits and inner punctuation: three quick passes, where one
    -- that deletes every gap between letters costs more than all of them.
    length(regexp_replace(bare, '[^\p{N}]+', '', 'g')) as digits,
    length(regexp_replace(bare, '[^\p{P}\p{S}]+', '', 'g')) as inner_punctuation,
    length(regexp_replace(text, '[^\p{P}\p{S}]+', '', 'g')) as punctuation,
    length(regexp_replace(bare, '[^\p{Lu}]+', '', 'g')) as upper_case
  from bared
),

counted as (
  select
    *,
    greatest(word_chars - digits - inner_punctuation, 0) as letters,
    string_split(lower(bare), ' ') as lower_tokens,
    length(array_to_string(lines, '')) as line_chars
  from split
),

scripted as (
  select
    *,
    case
      when letters = 0 then 'none'
      when is_ascii then 'Latin'
      when length(regexp_replace(bare, '\P{Latin}+', '', 'g')) * 2 > letters then 'Latin'
      when length(regexp_replace(bare, '\P{Hangul}+', '', 'g')) * 2 > letters then 'Hangul'
      -- Japanese is written in both kana and Han characters, Chinese in Han alone.
      when length(regexp_replace(bare, '[^\p{Hiragana}\p{Katakana}ー]+', '', 'g')) * 5 > letters then 'Kana'
      when length(regexp_replace(bare, '\P{Han}+', '', 'g')) * 2 > letters then 'Han'
      when length(regexp_replace(bare, '\P{Cyrillic}+', '', 'g')) * 2 > letters then 'Cyrillic'
      when length(regexp_replace(bare, '\P{Arabic}+', '', 'g')) * 2 > letters then 'Arabic'
      when length(regexp_replace(bare, '\P{Devanagari}+', '', 'g')) * 2 > letters then 'Devanagari'
      when length(regexp_replace(bare, '\P{Greek}+', '', 'g')) * 2 > letters then 'Greek'
      when length(regexp_replace(bare, '\P{Hebrew}+', '', 'g')) * 2 > letters then 'Hebrew'
      when length(regexp_replace(bare, '\P{Thai}+', '', 'g')) * 2 > letters then 'Thai'
      else 'other'
    end as script
  from counted
),

worded as (
  select
    *,
    case
      when script in ('Han', 'Kana', 'Thai') or (script = 'other' and word_chars > 15 * len(tokens))
        then greatest(len(tokens), letters // 2)
      else len(tokens)
    end as words,
    list_filter(lower_tokens, lambda token: list_contains([
      'the', 'of', 'and', 'to', 'a', 'in', 'is', 'that', 'it', 'for', 'was', 'on', 'are', 'as', 'with', 'be', 'by',
      'this', 'from', 'at', 'or', 'an', 'not', 'have', 'but', 'had', 'has', 'were', 'which', 'you', 'they', 'we',
      'he', 'she', 'his', 'her', 'their', 'its', 'i', 'my', 'your', 'our', 'there', 'been', 'if', 'will', 'can',
      'would', 'when', 'who', 'what', 'so', 'than', 'then', 'them', 'these', 'into', 'some', 'could', 'do', 'about',
      'also', 'only', 'because'
    ], token)) as function_words
  from scripted
),

function_worded as (
  select *, len(function_words) / nullif(len(tokens), 0) as stop_word_ratio from worded
),

-- Only Latin text with few English function words is compared with other languages, by ten common words of each.
guessed as (
  select
    *,
    case
      when script <> 'Latin' or stop_word_ratio >= .15 then null
      else list_max(list_transform([
        {'language': 'en', 'common': ['the', 'of', 'and', 'to', 'is', 'that', 'for', 'with', 'are', 'you']},
        {'language': 'de', 'common': ['der', 'die', 'und', 'das', 'ist', 'nicht', 'den', 'zu', 'ein', 'auf']},
        {'language': 'fr', 'common': ['les', 'des', 'et', 'le', 'est', 'une', 'pour', 'dans', 'qui', 'du']},
        {'language': 'es', 'common': ['los', 'el', 'y', 'las', 'del', 'una', 'por', 'con', 'que', 'en']},
        {'language': 'it', 'common': ['di', 'il', 'della', 'che', 'è', 'gli', 'per', 'un', 'dei', 'sono']},
        {'language': 'pt', 'common': ['o', 'e', 'do', 'da', 'os', 'em', 'não', 'uma', 'ao', 'que']},
        {'language': 'nl', 'common': ['het', 'een', 'van', 'en', 'niet', 'dat', 'zijn', 'op', 'voor', 'te']},
        {'language': 'sv', 'common': ['och', 'att', 'som', 'är', 'det', 'en', 'på', 'av', 'för', 'inte']},
        {'language': 'da', 'common': ['og', 'det', 'er', 'som', 'til', 'på', 'ikke', 'af', 'har', 'en']},
        {'language': 'fi', 'common': ['ja', 'on', 'ei', 'että', 'se', 'hän', 'kuin', 'tai', 'ovat', 'mutta']},
        {'language': 'pl', 'common': ['i', 'w', 'się', 'nie', 'na', 'z', 'do', 'jest', 'że', 'oraz']},
        {'language': 'cs', 'common': ['a', 'se', 'na', 'v', 'je', 'že', 'nebo', 'být', 'má', 'k']},
        {'language': 'hu', 'common': ['a', 'az', 'és', 'hogy', 'nem', 'egy', 'vagy', 'is', 'minden', 'van']},
        {'language': 'ro', 'common': ['și', 'de', 'în', 'la', 'să', 'care', 'nu', 'este', 'din', 'sau']},
        {'language': 'tr', 'common': ['ve', 'bir', 'bu', 'için', 'ile', 'de', 'da', 'her', 'veya', 'olarak']},
        {'language': 'id', 'common': ['dan', 'yang', 'di', 'untuk', 'dengan', 'ini', 'dalam', 'atau', 'tidak', 'dari']},
        {'language': 'vi', 'common': ['và', 'của', 'có', 'các', 'được', 'không', 'cho', 'là', 'trong', 'người']}
      ], lambda known: {
        'hits': len(list_filter(lower_tokens, lambda token: list_contains(known.common, token))),
        'language': known.language
      }))
    end as nearest
  from function_worded
),

named as (
  select
    *,
    case
      when script = 'Hangul' then 'ko'
      when script = 'Kana' then 'ja'
      when script = 'Han' then 'zh'
      when script = 'Greek' then 'el'
      when script = 'Hebrew' then 'he'
      when script = 'Thai' then 'th'
      when script = 'Latin' and nearest is null then 'en'
      when nearest.hits >= 2 and nearest.hits / len(tokens) >= .08 then nearest.language
      else 'und'
    end as language
  from guessed
),

measured as (
  select
    record_id,
    script,
    language,
    words,
    chars,
    length(lines) as lines,
    word_chars / nullif(len(tokens), 0) as mean_word_chars,
    (chars - length(replace(text, '#', ''))) / nullif(words, 0) as hash_symbol_ratio,
    ((chars - length(replace(text, '...', ''))) / 3 + chars - length(replace(text, '…', '')))
      / nullif(words, 0) as ellipsis_ratio,
    len(list_filter(lines, lambda line: line[1] in ('•', '-'))) / nullif(len(lines), 0) as bullet_line_ratio,
    len(list_filter(lines, lambda line: ends_with(line, '...') or ends_with(line, '…')))
      / nullif(len(lines), 0) as ellipsis_line_ratio,
    case
      when digits = 0 then len(tokens)
      else len(list_filter(tokens, lambda token: regexp_matches(token, '\p{L}')))
    end / nullif(len(tokens), 0) as alpha_word_ratio,
    len(list_intersect(function_words, ['the', 'be', 'to', 'of', 'and', 'that', 'have', 'with'])) as stop_words,
    stop_word_ratio,
    len(list_filter(lines, lambda line: length(line) <= 30)) / nullif(len(lines), 0) as short_line_ratio,
    len(list_filter(lines, lambda line: contains('.!?''"…。！？｡”’」』।॥؟۔։။།។', right(line, 1))))
      / nullif(len(lines), 0) as terminal_punctuation_line_ratio,
    (line_chars - length(array_to_string(different_lines, '')))
      / nullif(chars - newlines, 0) as duplicate_line_char_ratio,
    (len(lines) - len(different_lines)) / nullif(len(lines), 0) as duplicate_line_ratio,
    (len(paragraphs) - len(different_paragraphs)) / len(paragraphs) as duplicate_paragraph_ratio,
    (length(array_to_string(paragraphs, '')) - length(array_to_string(different_paragraphs, '')))
      / nullif(chars, 0) as duplicate_paragraph_char_ratio,
    newlines / nullif(words, 0) as newline_word_ratio,
    top_2gram_char_ratio,
    top_3gram_char_ratio,
    top_4gram_char_ratio,
    duplicate_5gram_char_ratio,
    duplicate_6gram_char_ratio,
    duplicate_7gram_char_ratio,
    duplicate_8gram_char_ratio,
    duplicate_9gram_char_ratio,
    duplicate_10gram_char_ratio,
    len(list_distinct(lower_tokens)) / nullif(len(tokens), 0) as unique_word_ratio,
    len(list_filter(tokens, lambda token: regexp_matches(token, '^\p{Lu}')))
      / nullif(len(tokens), 0) as capitalized_word_ratio,
    upper_case / nullif(letters, 0) as upper_case_ratio,
    digits / nullif(chars, 0) as digit_ratio,
    punctuation / nullif(chars, 0) as punctuation_ratio,
    (chars - length(replace(text, '!', ''))) / nullif(words, 0) as exclamation_ratio,
    line_chars / nullif(len(lines), 0) as mean_line_chars,
    (chars - length(replace(text, '://', ''))) / 3 / nullif(words, 0) as url_ratio
  from named
)

select
  record_id,  -- the record these measurements are of
  script,  -- script of most letters: Latin, Hangul, Han, Kana, Cyrillic, …, 'other'; 'none' without letters
  language,  -- guess by script and commonest words, ISO 639-1; 'und' where it can't be told
  words,  -- whitespace-separated tokens not of punctuation alone; half the letters where no spaces
  chars,  -- characters (Unicode code points)
  lines,  -- lines with text
  mean_word_chars,  -- mean characters of a word, punctuation at its edges left out
  hash_symbol_ratio,  -- '#' characters per word
  ellipsis_ratio,  -- ellipses ('...' or '…') per word
  bullet_line_ratio,  -- share of lines that start with a bullet ('•' or '-')
  ellipsis_line_ratio,  -- share of lines that end in an ellipsis
  alpha_word_ratio,  -- share of words with at least one letter
  stop_words,  -- how many of Gopher's eight stop words occur
  stop_word_ratio,  -- share of words that are common English function words
  short_line_ratio,  -- share of lines of at most 30 characters
  terminal_punctuation_line_ratio,  -- share of lines that end in terminal punctuation or a closing quote
  duplicate_line_char_ratio,  -- share of characters in lines that repeat an earlier line
  duplicate_line_ratio,  -- share of lines that repeat an earlier line
  duplicate_paragraph_ratio,  -- share of paragraphs (blank line between) that repeat an earlier one
  duplicate_paragraph_char_ratio,  -- share of characters in paragraphs that repeat an earlier one
  newline_word_ratio,  -- newline characters per word
  top_2gram_char_ratio,  -- share of characters in the most frequent run of 2 words; over 1 if copies overlap
  top_3gram_char_ratio,  -- the same for 3 words
  top_4gram_char_ratio,  -- the same for 4 words
  duplicate_5gram_char_ratio,  -- share of characters in runs of 5 words that occurred before
  duplicate_6gram_char_ratio,  -- the same for 6 words
  duplicate_7gram_char_ratio,  -- the same for 7 words
  duplicate_8gram_char_ratio,  -- the same for 8 words
  duplicate_9gram_char_ratio,  -- the same for 9 words
  duplicate_10gram_char_ratio,  -- the same for 10 words
  unique_word_ratio,  -- different words (in lower case) per word; falls with length
  capitalized_word_ratio,  -- share of words that begin with a capital letter
  upper_case_ratio,  -- share of letters that are capitals
  digit_ratio,  -- share of characters that are digits
  punctuation_ratio,  -- share of characters that are punctuation or symbols
  exclamation_ratio,  -- exclamation marks per word
  mean_line_chars,  -- mean characters of a line with text
  url_ratio  -- '://' per word
from measured
