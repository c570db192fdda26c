-- One row per record of deduped.records: what the rules and the judge want to know of its text, measured once.
-- Definitions follow DataTrove's gopher_quality, gopher_repetition, c4 and fineweb filters (Rae et al. 2021, arXiv 2112.11446,
-- appendix A1; Raffel et al. 2020, section 2.2; Penedo et al. 2024, arXiv 2406.17557, section 3.6), and their verdicts
-- are compared in benchmarks/datatrove_rules.py. There are two readings of a word here:
-- A token is a word or a punctuation mark as spaCy's English tokenizer takes them apart (algorithms/tokens.py): "don't"
-- is two. DataTrove's thresholds were set on these, so its rules read …token… signals.
-- A word is a whitespace-separated token without the punctuation and symbols at its edges, and nothing else is one: the
-- judge reads these, and so does Gopher's share of words with a letter, for a comma is no word without one.
-- Chinese, Japanese, Thai, Khmer, … put no space between words: there words and word_tokens are half the letters, or a
-- Chinese article would be shorter than 50 words.
-- Lines are trimmed, and only those with text count; DataTrove counts blank lines too for bullets and ellipses.
-- A ratio is 0 to 1 unless said otherwise, and null where there is nothing to divide by (no word, no line): no rule
-- judges a null. So are signals of languages a text is not in and of turns it does not have.
-- incoming(record_id, language, language_score, tokens, word_tokens, stop_word_tokens, sentences, mean_word_token_chars, hash_token_ratio, ellipsis_token_ratio, alpha_token_ratio, newline_token_ratio, top_2gram_token_ratio, top_3gram_token_ratio, top_4gram_token_ratio, duplicate_5gram_token_ratio, duplicate_6gram_token_ratio, duplicate_7gram_token_ratio, duplicate_8gram_token_ratio, duplicate_9gram_token_ratio, duplicate_10gram_token_ratio, top_2gram_char_ratio, duplicate_5gram_char_ratio, c4_sentences, c4_dropped_line_ratio, lorem_ipsum_lines, curly_bracket_lines, refinedweb_flagged_word_ratio, toxic_words, slur_words, threat_words, korean_ending_ratio, jamo_ratio, request_words, blocked_request_words, response_repeats_request, request_hash, response_hash, toxicity): what algorithms/signals.py measures; from deduped.records(record_id, text), raw.records(original), cleaned.records(cleaned_original)

with bared as (
  -- RE2's \w and \s know ASCII only, hence \p{…}; the white space is that of Python's str.split().
  select
    records.record_id,
    records.text,
    incoming.* exclude (record_id, word_tokens),
    incoming.word_tokens as incoming_word_tokens,
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
    case when bare = '' then []::varchar[] else string_split(bare, ' ') end as split_tokens,
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
      when script in ('Han', 'Kana', 'Thai') or (script = 'other' and word_chars > 15 * len(split_tokens))
        then greatest(len(split_tokens), letters // 2)
      else len(split_tokens)
    end as words,
    case
      when script in ('Han', 'Kana', 'Thai') or (script = 'other' and word_chars > 15 * len(split_tokens))
        then greatest(incoming_word_tokens, letters // 2)
      else incoming_word_tokens
    end as word_tokens,
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
  select *, len(function_words) / nullif(len(split_tokens), 0) as stop_word_ratio from worded
),

measured as (
  select
    record_id,
    script,
    language,
    language_score,
    words,
    chars,
    length(lines) as lines,
    word_chars / nullif(len(split_tokens), 0) as mean_word_chars,
    (chars - length(replace(text, '#', ''))) / nullif(words, 0) as hash_symbol_ratio,
    ((chars - length(replace(text, '...', ''))) / 3 + chars - length(replace(text, '…', '')))
      / nullif(words, 0) as ellipsis_ratio,
    len(list_filter(lines, lambda line: line[1] in ('•', '-'))) / nullif(len(lines), 0) as bullet_line_ratio,
    len(list_filter(lines, lambda line: ends_with(line, '...') or ends_with(line, '…')))
      / nullif(len(lines), 0) as ellipsis_line_ratio,
    case
      when digits = 0 then len(split_tokens)
      else len(list_filter(split_tokens, lambda token: regexp_matches(token, '\p{L}')))
    end / nullif(len(split_tokens), 0) as alpha_word_ratio,
    len(list_intersect(function_words, ['the', 'be', 'to', 'of', 'and', 'that', 'have', 'with'])) as stop_words,
    stop_word_ratio,
    len(list_filter(lines, lambda line: length(line) <= 30)) / nullif(len(lines), 0) as short_line_ratio,
    len(list_filter(lines, lambda line: contains('.!?''"…。！？｡”’」』।॥؟۔։။།។', right(line, 1))))
      / nullif(len(lines), 0) as terminal_punctuation_line_ratio,
    len(list_filter(lines, lambda line: contains(
      '!.?։؝؞؟۔܀܁܂߹࠷࠹࠽࠾।॥၊။።፧፨᙮᜵᜶។៕៖៙៚᠃᠉᥄᥅᪨᪩᪪᪫᭚᭛᭞᭟᭽᭾᰻᰼᱾᱿‼‽⁇⁈⁉⸮⸼⹓⹔。꓿꘎꘏꛳꛷꡶꡷꣎꣏꤯꧈꧉꩝꩞꩟꫰꫱꯫﹒﹖﹗！．？｡𐩖𐩗𐽕𐽖'
      || '𐽗𐽘𐽙𐾆𐾇𐾈𐾉𑁇𑁈𑂾𑂿𑃀𑃁𑅁𑅂𑅃𑇅𑇆𑇍𑇞𑇟𑈸𑈹𑈻𑈼𑊩𑑋𑑌𑗂𑗃𑗉𑗊𑗋𑗌𑗍𑗎𑗏𑗐𑗑𑗒𑗓𑗔𑗕𑗖𑗗𑙁𑙂𑜼𑜽𑜾𑥄𑥆𑩂𑩃𑪛𑪜𑱁𑱂𑻷𑻸𑽃𑽄𖩮𖩯𖫵𖬷𖬸𖭄𖺘𛲟𝪈', right(line, 1)
    ))) / nullif(len(lines), 0) as terminal_mark_line_ratio,
    (line_chars - length(array_to_string(different_lines, '')))
      / nullif(chars - newlines, 0) as duplicate_line_char_ratio,
    (len(lines) - len(different_lines)) / nullif(len(lines), 0) as duplicate_line_ratio,
    (len(paragraphs) - len(different_paragraphs)) / len(paragraphs) as duplicate_paragraph_ratio,
    (length(array_to_string(paragraphs, '')) - length(array_to_string(different_paragraphs, '')))
      / nullif(chars, 0) as duplicate_paragraph_char_ratio,
    newlines / nullif(words, 0) as newline_word_ratio,
    top_2gram_token_ratio,
    top_3gram_token_ratio,
    top_4gram_token_ratio,
    duplicate_5gram_token_ratio,
    duplicate_6gram_token_ratio,
    duplicate_7gram_token_ratio,
    duplicate_8gram_token_ratio,
    duplicate_9gram_token_ratio,
    duplicate_10gram_token_ratio,
    top_2gram_char_ratio,
    duplicate_5gram_char_ratio,
    len(list_distinct(lower_tokens)) / nullif(len(split_tokens), 0) as unique_word_ratio,
    len(list_filter(split_tokens, lambda token: regexp_matches(token, '^\p{Lu}')))
      / nullif(len(split_tokens), 0) as capitalized_word_ratio,
    upper_case / nullif(letters, 0) as upper_case_ratio,
    digits / nullif(chars, 0) as digit_ratio,
    punctuation / nullif(chars, 0) as punctuation_ratio,
    (chars - length(replace(text, '!', ''))) / nullif(words, 0) as exclamation_ratio,
    line_chars / nullif(len(lines), 0) as mean_line_chars,
    (chars - length(replace(text, '://', ''))) / 3 / nullif(words, 0) as url_ratio,
    tokens,
    word_tokens,
    stop_word_tokens,
    sentences,
    mean_word_token_chars,
    hash_token_ratio,
    ellipsis_token_ratio,
    alpha_token_ratio,
    newline_token_ratio,
    c4_sentences,
    c4_dropped_line_ratio,
    lorem_ipsum_lines,
    curly_bracket_lines,
    refinedweb_flagged_word_ratio,
    toxic_words,
    toxic_words / nullif(greatest(words, toxic_words), 0) as toxic_word_ratio,
    slur_words,
    threat_words,
    toxicity,
    korean_ending_ratio,
    jamo_ratio,
    request_words,
    blocked_request_words,
    response_repeats_request,
    case
      when request_hash is not null then count(distinct response_hash) over (partition by request_hash)
    end as responses_to_request
  from function_worded
)

select
  record_id,  -- the record these measurements are of
  script,  -- script of most letters: Latin, Hangul, Han, Kana, Cyrillic, …, 'other'; 'none' without letters
  language,  -- ISO 639-1 code (-2 or -3 where there is none of two letters); 'und' where it can't be told
  language_score,  -- the detector's probability of that language; null for 'und'
  words,  -- whitespace-separated tokens not of punctuation alone; half the letters where no spaces
  chars,  -- characters (Unicode code points)
  lines,  -- lines with text
  mean_word_chars,  -- mean characters of a word, punctuation at its edges left out
  hash_symbol_ratio,  -- '#' characters per word
  ellipsis_ratio,  -- ellipses ('...' or '…') per word
  bullet_line_ratio,  -- share of lines that start with a bullet ('•' or '-')
  ellipsis_line_ratio,  -- share of lines that end in an ellipsis
  alpha_word_ratio,  -- share of words with at least one letter
  stop_words,  -- how many of Gopher's eight stop words occur, in any case
  stop_word_ratio,  -- share of words that are common English function words
  short_line_ratio,  -- share of lines of at most 30 characters
  terminal_punctuation_line_ratio,  -- share of lines that end in terminal punctuation or a closing quote
  terminal_mark_line_ratio,  -- the same without quotes, by Unicode's sentence terminals of all scripts
  duplicate_line_char_ratio,  -- share of characters in lines that repeat an earlier line
  duplicate_line_ratio,  -- share of lines that repeat an earlier line
  duplicate_paragraph_ratio,  -- share of paragraphs (blank line between) that repeat an earlier one
  duplicate_paragraph_char_ratio,  -- share of characters in paragraphs that repeat an earlier one
  newline_word_ratio,  -- newline characters per word
  top_2gram_token_ratio,  -- share of characters in the most frequent run of 2 tokens; over 1 if copies overlap
  top_3gram_token_ratio,  -- the same for 3 tokens
  top_4gram_token_ratio,  -- the same for 4 tokens
  duplicate_5gram_token_ratio,  -- share of characters in runs of 5 tokens that occurred before
  duplicate_6gram_token_ratio,  -- the same for 6 tokens
  duplicate_7gram_token_ratio,  -- the same for 7 tokens
  duplicate_8gram_token_ratio,  -- the same for 8 tokens
  duplicate_9gram_token_ratio,  -- the same for 9 tokens
  duplicate_10gram_token_ratio,  -- the same for 10 tokens
  top_2gram_char_ratio,  -- share of characters in the most frequent run of 2 words between spaces; the judge reads it
  duplicate_5gram_char_ratio,  -- share of characters in runs of 5 words between spaces that occurred before; the same
  unique_word_ratio,  -- different words (in lower case) per word; falls with length
  capitalized_word_ratio,  -- share of words that begin with a capital letter
  upper_case_ratio,  -- share of letters that are capitals
  digit_ratio,  -- share of characters that are digits
  punctuation_ratio,  -- share of characters that are punctuation or symbols
  exclamation_ratio,  -- exclamation marks per word
  mean_line_chars,  -- mean characters of a line with text
  url_ratio,  -- '://' per word
  tokens,  -- words and punctuation marks
  word_tokens,  -- tokens of more than punctuation; half the letters where no spaces
  stop_word_tokens,  -- how many of Gopher's eight stop words occur, in lower case
  sentences,  -- sentences, by their terminal marks
  mean_word_token_chars,  -- mean characters of a token of more than punctuation
  hash_token_ratio,  -- '#' characters per token
  ellipsis_token_ratio,  -- ellipses ('...' or '…') per token
  alpha_token_ratio,  -- share of tokens with a letter; punctuation marks count as tokens without one
  newline_token_ratio,  -- newline characters per token
  c4_sentences,  -- sentences in the lines that C4's line rules keep
  c4_dropped_line_ratio,  -- share of lines that C4's line rules drop
  lorem_ipsum_lines,  -- lines of prose with "lorem ipsum"
  curly_bracket_lines,  -- lines of prose with '{'
  refinedweb_flagged_word_ratio,  -- share of words in lines that RefinedWeb's line rules flag
  toxic_words,  -- words of the English and Korean lexicons of abuse; null in other languages
  toxic_word_ratio,  -- the same per word
  slur_words,  -- those of them that are slurs
  threat_words,  -- those of them that are threats
  toxicity,  -- probability of abuse by the classifier fitted on filtered.toxicity_examples; null without
  korean_ending_ratio,  -- share of Korean words that end in a particle or an ending
  jamo_ratio,  -- share of letters that are lone jamo (ㅋㅋㅋ); null without Hangul
  request_words,  -- words of the last request of a record with turns, without its input where the two are told apart
  blocked_request_words,  -- words in that which ask for more than text (image, graph, …)
  response_repeats_request,  -- 1 if its response is that request, its input, or both together, else 0
  responses_to_request  -- how many different responses records give to the same request, with its input and the turns before it
from measured
