-- One row per record of deduped.records: what the rules and the judge want to know of its text, measured once.
-- Rows of records and texts that are no longer there go, those of new ones are measured and come; the others stay.
-- Definitions follow DataTrove's gopher_quality, gopher_repetition, c4 and fineweb filters (Rae et al. 2021, arXiv 2112.11446,
-- appendix A1; Raffel et al. 2020, section 2.2; Penedo et al. 2024, arXiv 2406.17557, section 3.6), and their verdicts
-- are compared in benchmarks/datatrove_rules.py. There are two readings of a word here:
-- A token is a word or a punctuation mark as spaCy's English tokenizer takes them apart (algorithms/tokens.py): "don't"
-- is two. DataTrove's thresholds were set on these, so its rules read …token… signals.
-- A word is a whitespace-separated token without the punctuation and symbols at its edges, and nothing else is one: the
-- judge reads these, and so does Gopher's share of words with a letter, for a comma is no word without one.
-- Chinese, Japanese, Thai, Khmer, … put no space between words: there words and word_tokens are half the letters, or a
-- Chinese article would be shorter than 50 words; what is counted per token is counted per so many words, or each of its
-- paragraphs would be a new line every few tokens.
-- Lines are trimmed, and only those with text count; DataTrove counts blank lines too for bullets and ellipses. For the sentence
-- terminal of a line its end is that of the file, as DataTrove has it: a line that ends in a space ends in no mark.
-- A ratio is 0 to 1 unless said otherwise, and null where there is nothing to divide by (no word, no line): no rule
-- judges a null. So are signals of languages a text is not in and of turns it does not have.
-- incoming(record_id, language, language_score, script, tokens, word_tokens, stop_word_tokens, sentences, mean_word_token_chars, hash_token_ratio, ellipsis_token_ratio, alpha_token_ratio, newline_token_ratio, top_2gram_token_ratio, top_3gram_token_ratio, top_4gram_token_ratio, duplicate_5gram_token_ratio, duplicate_6gram_token_ratio, duplicate_7gram_token_ratio, duplicate_8gram_token_ratio, duplicate_9gram_token_ratio, duplicate_10gram_token_ratio, datatrove_top_2gram_token_ratio, datatrove_top_3gram_token_ratio, datatrove_top_4gram_token_ratio, top_2gram_char_ratio, duplicate_5gram_char_ratio, letters, digits, punctuation, upper_case, newlines, hashes, exclamations, ellipses, urls, split_words, word_chars, alpha_words, capitalized_words, different_words, function_words, stop_words, lines, line_chars, bullet_lines, ellipsis_lines, short_lines, closed_lines, terminal_mark_lines, different_lines, different_line_chars, paragraphs, paragraph_chars, different_paragraphs, different_paragraph_chars, c4_sentences, datatrove_c4_sentences, c4_dropped_line_ratio, lorem_ipsum_lines, curly_bracket_lines, refinedweb_flagged_word_ratio, toxic_words, slur_words, threat_words, korean_ending_ratio, jamo_ratio, request_words, blocked_request_words, response_repeats_request, request_hash, response_hash, toxicity): what algorithms/signals.py measures; from deduped.records(record_id, text), raw.records(original), cleaned.records(cleaned_original)

with counted as (
  select
    records.record_id,
    text_hash,
    incoming.* exclude (record_id, word_tokens),
    incoming.word_tokens as incoming_word_tokens,
    length(text) as chars
  from deduped.records
  join incoming using (record_id)
),

worded as (
  select
    *,
    greatest(split_words, fewest_words) as words,
    greatest(incoming_word_tokens, fewest_words) as word_tokens
  from (
    select
      *,
      case when script in ('Han', 'Kana', 'Thai') or (script = 'other' and word_chars > 15 * split_words) then letters // 2 else 0 end
        as fewest_words
    from counted
  )
),

measured as (
  select
    record_id,
    text_hash,
    script,
    language,
    language_score,
    words,
    chars,
    lines,
    word_chars / nullif(split_words, 0) as mean_word_chars,
    hashes / nullif(words, 0) as hash_symbol_ratio,
    ellipses / nullif(words, 0) as ellipsis_ratio,
    bullet_lines / nullif(lines, 0) as bullet_line_ratio,
    ellipsis_lines / nullif(lines, 0) as ellipsis_line_ratio,
    alpha_words / nullif(split_words, 0) as alpha_word_ratio,
    stop_words,
    function_words / nullif(split_words, 0) as stop_word_ratio,
    short_lines / nullif(lines, 0) as short_line_ratio,
    closed_lines / nullif(lines, 0) as terminal_punctuation_line_ratio,
    terminal_mark_lines / nullif(lines, 0) as terminal_mark_line_ratio,
    (line_chars - different_line_chars) / nullif(chars - newlines, 0) as duplicate_line_char_ratio,
    (lines - different_lines) / nullif(lines, 0) as duplicate_line_ratio,
    (paragraphs - different_paragraphs) / paragraphs as duplicate_paragraph_ratio,
    (paragraph_chars - different_paragraph_chars) / nullif(chars, 0) as duplicate_paragraph_char_ratio,
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
    datatrove_top_2gram_token_ratio,
    datatrove_top_3gram_token_ratio,
    datatrove_top_4gram_token_ratio,
    top_2gram_char_ratio,
    duplicate_5gram_char_ratio,
    different_words / nullif(split_words, 0) as unique_word_ratio,
    capitalized_words / nullif(split_words, 0) as capitalized_word_ratio,
    upper_case / nullif(letters, 0) as upper_case_ratio,
    digits / nullif(chars, 0) as digit_ratio,
    punctuation / nullif(chars, 0) as punctuation_ratio,
    exclamations / nullif(words, 0) as exclamation_ratio,
    line_chars / nullif(lines, 0) as mean_line_chars,
    urls / nullif(words, 0) as url_ratio,
    tokens,
    word_tokens,
    stop_word_tokens,
    sentences,
    mean_word_token_chars,
    if(fewest_words > tokens, hashes / fewest_words, hash_token_ratio) as hash_token_ratio,
    if(fewest_words > tokens, ellipses / fewest_words, ellipsis_token_ratio) as ellipsis_token_ratio,
    alpha_token_ratio,
    if(fewest_words > tokens, newlines / fewest_words, newline_token_ratio) as newline_token_ratio,
    c4_sentences,
    datatrove_c4_sentences,
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
    request_hash,
    response_hash
  from worded
)

select
  record_id,  -- the record these measurements are of
  text_hash,  -- hash of the text they are of
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
  datatrove_top_2gram_token_ratio,  -- as top_2gram_token_ratio; if no run occurs twice, the share of the first, not zero
  datatrove_top_3gram_token_ratio,  -- the same for 3 tokens
  datatrove_top_4gram_token_ratio,  -- the same for 4 tokens
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
  c4_sentences,  -- sentences in the lines that C4's line rules keep, of 5 words or more as in its reference code
  datatrove_c4_sentences,  -- the same, lines of 3 or 4 words among them as in its paper
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
  request_hash,  -- hash of that request with its input, the turns before it and the system prompt, in lower case
  response_hash  -- hash of the response, in lower case
from measured
