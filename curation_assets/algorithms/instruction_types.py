"""What type of task an instruction sets: rules vote on its words, and what no rule knows is typed by its neighbours.

The types are ours, a merge of those of InstructGPT's prompts (Ouyang et al. 2022, arXiv 2203.02155, table 1) and of
databricks-dolly-15k with what alpaca-like sets hold besides. So are the rules: English and Korean verbs and symbols, read
off real instructions. They are a guess, for quotas and for people; each comes with the share of votes it got.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

NEIGHBOURS = 10
MAX_REFERENCES = 20_000  # ruled records a neighbour is looked for among: bounds the products at n × 20,000
ROWS_AT_ONCE = 256  # 256 × 20,000 cosines, negated, and their order take 80 MB
MIN_VOTES = 2  # a single weak sign decides nothing
MAX_CHARS = 600

TYPES = (
    *("code", "maths", "translation", "summarisation", "extraction", "classification", "rewriting", "definition"),
    *("creative_writing", "brainstorming", "factual_question", "open_question", "explanation", "dialogue"),
)
"""All types; of equal votes the first named here wins, so the more particular ones come first."""

_ASKED = (  # where an order may begin: at the start, after a stop, or after a polite opening
    r"(?:^|[.!?:;,\n]\s*|\bplease |\b(?:can|could|would|will) you (?:please )?|\b(?:need|want|have|like)(?: you)? to |\bshould |"
    r"\btask is to |\band |\bthen |\bto )"
)
_TEXT = (
    r"(?:sentences?|texts?|paragraphs?|passages?|articles?|story|documents?|e-?mails?|reviews?|poems?|phrases?|statements?|"
    r"words?|essay|letter|quotes?|tweets?|conversation|dialogue|questions?|headline|summary|report|list|lyrics|title)"
)
_PIECE = (  # what is written from nothing
    r"(?:story|stories|poem|haiku|song|lyrics|essay|letter|e-?mail|speech|article|blog|(?:blog|forum|facebook|instagram|media) post|tweet|"
    r"slogan|tagline|ads?|"
    r"advertisement|jingle|script|dialogue|conversation|jokes?|riddle|limerick|paragraph|review|sentences?|caption|titles?|"
    r"headlines?|novel|plot|characters?|metaphors?|similes?|analogy|description|cover letter|resume|bio(?:graphy)?|narrative|"
    r"tale|monologue|press release|message|puns?|rap|verse|sonnet|toast|scene|introduction|conclusion|report|proposal|pitch|"
    r"invitation|note|recipe|outline|summary of|quote|motto|greeting|acrostic|fable)\b"
)
_COUNT = (
    r"(?:some|a few|several|a list|lists?|\d+|two|three|four|five|six|seven|eight|nine|ten|at least|up to|ideas?|examples?|"
    r"possible|potential|different|ways|an example|an idea|suggestions|tips|the top|creative ways?|a creative way)\b"
)
_LANGUAGE = (
    r"(?:english|french|spanish|german|italian|portuguese|korean|japanese|chinese|mandarin|russian|arabic|hindi|latin|dutch|"
    r"swedish|turkish|greek|polish|vietnamese|indonesian)\b"
)
_CODE = (
    r"(?:code|function|sql|quer(?:y|ies)|script in|regex|regular expression|algorithm|html|css|javascript|java|python|c\+\+|c#|"
    r"php|ruby|bash|api|snippet|computer program|program (?:that|to|in|which)|web ?page|database schema)\b"
)

_RULES: dict[str, tuple[tuple[int, str], ...]] = {
    "code": (
        (3, rf"\b(?:write|create|implement|develop|design|construct|generate|debug|fix|build|complete)\b[^.\n]{{0,60}}\b{_CODE}"),
        (3, r"```|\bdef \w+\("
            r"|\bselect [\w*, .()]{1,80} from \w+(?:;| where| order| group| join)|#include|console\.log|public static|</\w+>|\(\) ?\{"),
        (2, r"\b(?:python|javascript|java|sql|html|css|php|typescript|kotlin|regex|source code|compilers?|api)\b|c\+\+|c#"),
        (3, r"(?:코드|함수|파이썬|자바|스크립트|쿼리|정규식|알고리즘|프로그램을)[^\n]{0,20}(?:작성|짜|만들|구현|고쳐|수정)"),
        (2, r"파이썬|자바스크립트|코딩|프로그래밍"),
    ),
    "maths": (
        (3, r"\b(?:calculate|compute|solve|evaluate|simplify|factor|factori[sz]e|differentiate|integrate|convert|round|find)\b"
            r"[^.\n]{0,80}(?:\d|\bequation|\barea\b|\bvolume\b|\bperimeter|\baverage|\bsum\b|\bprobability|\bpercentage"
            r"|\bintegral|\bderivative|\bpolynomial|\bsquare root|\binterest\b|\bmedian\b)"),
        (3, r"\d[\s\S]*\bhow (?:many|much|long|far|old|fast|tall|large|wide)\b"),
        (2, r"\b(?:twice|half|dozen|two|three|four|five|six|seven|eight|ten|each|total|altogether|per)\b[\s\S]*\bhow (?:many|much)\b"),
        (3, r"\d[\s\S]*\b(?:in total|altogether|combined|what percent(?:age)?|what is (?:the|his|her|their) (?:total|average|number|cost|"
            r"difference|ratio|sum|profit|price)|calculate|how many more|what (?:fraction|is the (?:total|remaining)))\b"),
        (2, r"\d\s*[+*×÷^=]\s*[\d(x]|\d [-/x] \d|\b\d+ ?% of\b|[\dx)]\s*=\s*[\dx]"),
        (3, r"\b(?:sum|product|quotient|square root|average|mean|median|mode|area|perimeter|volume|probability|slope|derivative|"
            r"integral|greatest common|least common|hypotenuse|circumference)[^.?\n]{0,40} (?:of|between|for) [^.?\n]{0,40}"
            r"(?:\d|triangle|circle|square\b|rectangle|numbers|sphere|cube|function)"),
        (3, r"계산(?:해|하)|방정식|(?:더하|빼|곱하|나누)면|\d[^\n]*(?:모두 )?몇 (?:개|명|원|살|번)|넓이를|확률을|미분|적분"),
    ),
    "translation": (
        (5, r"\btranslat(?:e|ed|ing|ion)\b"),
        (4, rf"\bhow (?:do|would) (?:you|i|we) say\b|\b(?:into|to) {_LANGUAGE}[.:?]?$"),
        (1, rf"\b(?:into|to|in) {_LANGUAGE}"),
        (5, r"번역|(?:영어|한국어|일본어|중국어|한글)로 (?:바꿔|옮겨|써|말|표현|뭐|어떻게)"),
    ),
    "summarisation": (
        (4, r"\bsummar(?:y|i[sz]e|i[sz]ed|i[sz]ing|ies)\b|\btl;?dr\b|\bsum up\b|\bin a nutshell\b"),
        (3, rf"\b(?:condense|shorten|abridge)\b|\bmain (?:ideas?|points?|takeaways?|themes?)\b|\bgist of\b"
            rf"|\b(?:title|headline) (?:for|of|to) (?:the|this)(?: following| given)? {_TEXT}"),
        (4, r"요약|줄거리|간추려|핵심[^\n]{0,10}정리"),
    ),
    "extraction": (
        (4, r"\bextract(?:ed|ing)?\b"),
        (4, rf"{_ASKED}(?:identify|find|locate|highlight|underline|list|name|pick out|spot|point out|retrieve|give|output|tell me)\b"
            rf"[^.\n]{{0,60}}\b(?:in|from|within|of|mentioned in|used in) (?:the|this|these|a)(?: following| given| below| above)*"
            rf" {_TEXT}"),
        (3, rf"\b(?:topics?|key ?words?|entit(?:y|ies)|nouns?|verbs?|adjectives?|adverbs?|subjects?|prepositions?|facts?)\b"
            rf"[^.?\n]{{0,20}} (?:in|of|from) (?:the|this|these)(?: following| given)? {_TEXT}"),
        (2, r"\b(?:according to|based on) (?:the|this) (?:text|passage|article|paragraph|information|context)\b"),
        (4, r"추출|뽑아|찾아내|골라내"),
    ),
    "classification": (
        (4, rf"{_ASKED}(?:classify|categori[sz]e|label|tag|assign|judge)\b"),
        (4, rf"{_ASKED}(?:determine|decide|detect|predict|identify|tell(?: me)?|say|state|indicate|check|specify|assess|evaluate)"
            rf" (?:if|whether|which|what (?:type|kind|category|genre))\b"),
        (4, r"\b(?:determine|identify|detect|predict|what is|find|indicate|recogni[sz]e|specify|analy[sz]e|state|give|name) "
            r"the (?:overall |main )?(?:sentiment|tone|genre|category|class|part of speech|mood|type of|"
            r"parts? of speech|language of|emotion)"),
        (3, r"\b(?:true or false|yes or no|positive(?:,| or) (?:negative|neutral)|positive, negative|spam|fact or opinion|sentiment)\b"),
        (3, r"\b(?:is|are|was|does|would you say) (?:this|it|these|the (?:following|given|sentence|statement|tweet|review))\b"
            r"[^?\n]{0,160}\bor\b[^?\n]*\?"),
        (3, r"\b(?:which|what) (?:section|category|label|class|genre|sentiment)\b|\bwould you recommend\b[^?]*\?"),
        (4, r"\bon a scale (?:of|from)\b|\bstar.rating\b|★"),
        (4, r"\bhow would you (?:rate|classify|categori[sz]e)\b"),
        (3, r"\b(?:following|possible|these|given|two|three|four) (?:categories|classes|labels|intents|genres)\b|\bfact.?check"
            r"|\btrue, false\b|\bsupports? (?:or|the claim)\b"),
        (2, rf"{_ASKED}(?:choose|select|pick|group)\b|\bwhich (?:one )?of (?:the|these)\b|\bdoes not belong\b|\bodd one out\b"),
        (4, r"분류|긍정[^\n]{0,10}부정|판단(?:해|하)|맞는지|인지 아닌지|고르(?:시오|세요)|골라 ?(?:줘|주)"),
    ),
    "rewriting": (
        (5, r"\b(?:re-?write|rewritten|re-?phrase|paraphrase|proofread|reword|reformulate|rewriting|edit the|revise)\b"),
        (4, rf"{_ASKED}(?:correct|improve|modify|change|transform|convert|replace|fix|add|remove|delete|insert|make|turn|combine|"
            rf"merge|rearrange|reorder|re-?organi[sz]e|arrange|reverse|simplify|expand|punctuate|capitali[sz]e|put|restructure|"
            rf"substitute|update|adapt|complete|finish|order)\b[^.\n]{{0,40}}\b(?:this|these|the|following|given|below)\b[^.\n]{{0,40}}\b"
            rf"(?:{_TEXT}|tense|voice|grammar|spelling|order)\b"),
        (2, rf"{_ASKED}(?:(?:correctly|properly) )?(?:correct|punctuate|capitali[sz]e|rearrange|reorder|reorgani[sz]e|convert|transform|"
            rf"reconstruct|sort|rank|order|arrange|alphabeti[sz]e|reverse|combine|merge|replace|change|edit|fix)\b"),
        (2, r"\b(?:grammar|spelling|grammatical|typos?|punctuation|(?:passive|active) voice|(?:past|present|future) tense|"
            r"more (?:concise|formal|polite)|a synonym|synonyms?)\b|\bfill in the blanks?\b"),
        (3, r"고쳐|(?:으로|로|게) 바꿔|수정해|교정|다듬|다시 써|맞춤법"),
    ),
    "definition": (
        (5, rf"{_ASKED}define\b|\bdefinitions?\b|\bwhat is meant by\b"),
        (5, r"\bwhat (?:do|does|is|are)\b[^?\n]{0,60}\b(?:mean|stand for|meaning|the term)\b|\bmeaning of\b"),
        (3, r"^what(?:'s| is| are) an? [a-z\- ]{3,40}\?"),
        (2, r"^what (?:is|are) [a-z\-]+(?: [a-z\-]+)?\?$|\bin (?:your )?own words\b"),
        (4, r"(?:이란|란) (?:뭐|뭔|무엇)|정의(?:를|해|하)|뜻이|뜻을|무슨 뜻|의미(?:를|가|는)"),
    ),
    "creative_writing": (
        (3, rf"{_ASKED}(?:write|compose|create|generate|craft|draft|come up with|tell|make up|invent|design|produce|develop|"
            rf"construct|make|prepare|give|continue|suggest|form|provide)\b[^.\n]{{0,60}}\b{_PIECE}"),
        (3, r"\bsentences? (?:with|using|containing|that (?:contains|uses|includes)|about)\b|\b(?:form|make) a[^.\n]{0,20} sentence\b"),
        (2, rf"{_ASKED}(?:write|compose|imagine|brainstorm a name|personify)\b|\bsimple sentence can be\b"),
        (3, r"(?:시를|소설|이야기|편지|이메일|에세이|글을|노래|가사|대본|광고|슬로건|문장)[^\n]{0,15}(?:써|쓰|작성|지어|만들)"),
    ),
    "brainstorming": (
        (4, rf"{_ASKED}(?:list|name|brainstorm|suggest|recommend|propose|come up with|give(?: me)?|provide|generate|think of|create|"
            rf"make|identify|find|share|describe|cite|offer|tell me)(?: me| us)? (?:out )?{_COUNT}"),
        (3, rf"{_ASKED}(?:list|brainstorm|suggest|recommend|propose|enumerate)\b|\bwhat are (?:some|\d+|two|three|four|five)\b"),
        (2, r"\b(?:ideas|suggestions|tips|recommendations)\b"),
        (3, r"목록|나열|추천|아이디어|예시를|제안해|\d+가지|(?:세|네|다섯|두) 가지|뭐가 있"),
    ),
    "factual_question": (
        (3, r"\b(?:who|when|where) (?:is|was|are|were|did|does|do|has|had|can|invented|wrote|discovered|won|said|founded)\b"),
        (3, r"\bwhat (?:is|was|are|were) the (?:name|capital|largest|smallest|biggest|longest|highest|tallest|population|colou?r|"
            r"most|first|last|year|date|current|chemical|scientific|official|atomic|boiling|best)\b"),
        (2, r"^(?:who|when|where|which|whose)\b|\bwhat (?:is|was|were) the\b|\banswer the (?:following )?question\b|^which\b"),
        (2, r"\b(?:what|which) (?:year|country|city|state|animal|colou?r|element|type|kind|language|company|president|planet|"
            r"continent|river|person|movie|book|gas|war|month|day|time|is|was)\b"),
        (2, r"\bhow (?:many|much|old|tall|long|far|big|fast|often|deep|high)\b|^(?:name|identify|state) (?:the|a|an)\b"),
        (3, r"\b(?:options|choices):"),
        (3, r"\b(?:most suitable|correct|right|best) answer\b"),
        (2, r"\ba[.:)] .{1,80}\bb[.:)] |(?:\n- .+){4}"),
        (2, r"(?:누구|언제|어디)(?:야|니|지|인가|입니까|예요|에요)|몇 (?:시|년|월)|수도는"),
    ),
    "open_question": (
        (4, r"\b(?:do you think|what do you think|your (?:opinion|thoughts?|favou?rite|views?)|should (?:i|we|people|one)|"
            r"would you rather|what would (?:you|happen)|if you (?:could|were)|is it (?:ok|better|worth|ethical|right|possible))\b"),
        (3, r"\b(?:how (?:can|could|should|do|would|might) (?:i|we|one|you|people|someone|companies|businesses)|what should|what can)\b"),
        (3, r"\bwhat (?:are|is) (?:the |an? )?(?:\w+ )?(?:ways?|benefits?|advantages?|disadvantages|effects?|impacts?|implications|"
            r"consequences|challenges|pros|drawbacks|importance|role|purpose|significance|best way|risks|value|key)\b"),
        (2, r"\bwhat (?:makes|are the)\b|\bhow (?:might|could|would|can|should)\b|^(?:is|are|do|does|can|should|will|would) .*\?$"),
        (2, r"(?:어떻게 (?:해|하지|할까|하나|하면)|어떡해|어쩌지|좋을까|괜찮을까|될까|할까|해야 (?:돼|되|하)|는 법)|[가-힣]까[?.! ]*$"),
    ),
    "explanation": (
        (4, rf"{_ASKED}(?:explain|elaborate|clarify|illustrate)\b|\bexplanation\b|\bdifferences? (?:between|of)\b|\bstep.by.step\b"),
        (3, rf"{_ASKED}(?:describe|discuss|outline|compare|contrast|differentiate|distinguish|analy[sz]e|interpret|examine|evaluate|"
            rf"assess|explore|critique|justify|argue|teach|show|demonstrate|tell me (?:about|how|why|what)|provide an? (?:overview|"
            rf"analysis|description|introduction|summary)|give an? (?:overview|introduction))\b"),
        (2, r"^how (?:do|does|did|is|are|was|to|has|have)\b|\bwhy (?:do|does|did|is|are|was|were|has|have|should|can)\b|^why\b"
            r"|\bwhat (?:causes|caused|happens|happened)\b|\binstructions\b|\bhow to\b|\bsteps\b"),
        (4, r"설명(?:해|하)|차이(?:를|가|점)|비교(?:해|하)"),
        (2, r"(?:이유|원리|방법)(?:를|가|는|을|이)|왜 |알려 ?(?:줘|주)|가르쳐"),
    ),
    "dialogue": (
        (3, r"\b(?:role-?play|role play|pretend (?:to|you|that)|act (?:as|like) an?|imagine (?:you are|you're|that you)|simulate an?|"
            r"respond (?:as|to the)|reply to|let's chat|chat with)\b|\byou are an? (?:chat|assistant|ai|customer|bot)"),
        (4, r"^(?:hi|hello|hey|good (?:morning|evening)|thanks?|thank you|bye|how are you|what's up|nice to meet)\b"),
        (2, r"^[가-힣ㄱ-ㅎㅏ-ㅣ\s\d.,!~a-z]{2,40}$"),  # a short Korean remark that asks for nothing
        (3, r"안녕|반가워|반갑|고마워|심심해|사랑해|보고 ?싶|[ㅋㅎㅠㅜ]{2}"),
    ),
}  # fmt: skip
_HANGUL = r"[가-힣]"
_KOREAN_REQUEST = r"(?:줘|주세요|하시오|하세요|해라|십시오|시오|하라|달라)[.!]*$"


class Guesses(NamedTuple):
    """The type guess of each of n records."""

    types: np.ndarray
    """int16[n]: position in `TYPES`; -1 where there is no guess, which is only where no rule fits any record."""
    by_rule: np.ndarray
    """bool[n]: rules gave it; else the nearest ruled records did."""
    vote_share: np.ndarray
    """float32[n]: share of the rules' votes, or of the neighbours, that are for this type; 0 without a guess."""


def guess_types(requests: pl.Series | Sequence[str], vectors: np.ndarray, *, seed: int = 0) -> Guesses:
    """Guess the type of n instructions: by rules over their words, else by their nearest neighbours among the ruled.

    ``requests``: what is asked, without its input where that is known apart; the first ``MAX_CHARS`` characters and
    the last are read, for a question may stand after the text it is about. ``vectors``: float32[n, d], unit rows, of
    the whole records. ``seed`` draws the ruled records that serve as neighbours where there are more than
    ``MAX_REFERENCES``.

    >>> unit = np.eye(3, dtype=np.float32)[[0, 1, 1]]
    >>> found = guess_types(["Translate into French: cat", "Define entropy.", "Entropy, then"], unit)
    >>> [TYPES[at] for at in found.types], found.by_rule
    (['translation', 'definition', 'definition'], array([ True,  True, False]))
    """
    types, share = ruled_types(requests)
    by_rule = types >= 0
    if by_rule.any() and not by_rule.all():
        near, near_share = neighbour_types(vectors[~by_rule], *_references(vectors, types, seed))
        types[~by_rule], share[~by_rule] = near, near_share
    return Guesses(types, by_rule, share)


def ruled_types(requests: pl.Series | Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """The type the rules vote for, int16[n] (-1 for fewer than ``MIN_VOTES`` votes), and its share of all votes.

    >>> types, share = ruled_types(["Write a Python function that adds.", "Purple."])
    >>> TYPES[types[0]], int(types[1])
    ('code', -1)
    """
    text = pl.Series("request", requests, dtype=pl.String)
    ends = pl.when(pl.col("request").str.len_chars() > 2 * MAX_CHARS)
    cut = pl.concat_str(pl.col("request").str.head(MAX_CHARS), pl.lit("\n"), pl.col("request").str.tail(MAX_CHARS))
    votes = (
        text.to_frame()
        .lazy()
        .select(request=ends.then(cut).otherwise(pl.col("request")).str.to_lowercase().str.strip_chars())
        .select(_votes(name).alias(name) for name in TYPES)
        .collect()
        .to_numpy()
        .astype(np.float32)
    )
    best = votes.argmax(axis=1).astype(np.int16)
    most = votes[np.arange(len(votes)), best]
    best[most < MIN_VOTES] = -1
    return best, np.where(best < 0, 0, most / np.maximum(votes.sum(axis=1), 1)).astype(np.float32)


def _votes(name: str) -> pl.Expr:
    """The weights of the type's rules that fit, summed."""
    request = pl.col("request")
    fits = [
        request.str.contains(pattern).fill_null(value=False).cast(pl.Int16) * weight for weight, pattern in _RULES[name]
    ]
    total = pl.sum_horizontal(fits)
    if name != "dialogue":
        return total
    # The rule of the short remark must see Korean that orders nothing.
    is_remark = request.str.contains(_HANGUL) & ~request.str.contains(_KOREAN_REQUEST)
    return pl.when(is_remark | ~request.str.contains(_HANGUL)).then(total).otherwise(0) - pl.when(
        ~request.str.contains(_HANGUL) & request.str.contains(_RULES[name][2][1])
    ).then(_RULES[name][2][0]).otherwise(0)


def _references(vectors: np.ndarray, types: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    ruled = np.flatnonzero(types >= 0)
    if len(ruled) > MAX_REFERENCES:
        ruled = np.sort(np.random.default_rng(seed).choice(ruled, MAX_REFERENCES, replace=False))
    return vectors[ruled], types[ruled]


def neighbour_types(
    vectors: np.ndarray, references: np.ndarray, types: np.ndarray, k: int = NEIGHBOURS
) -> tuple[np.ndarray, np.ndarray]:
    """The type most of the ``k`` references of the greatest cosine have, int16[n], and its share of their votes.

    A reference's vote is its cosine, 0 if that is negative (distance-weighted k-NN, Dudani 1976).
    ``vectors`` float32[n, d] and ``references`` float32[m, d], unit rows, m ≥ 1; ``types`` int[m], positions in
    ``TYPES``. Of types with equal votes the first in ``TYPES`` is taken.
    """
    k = min(k, len(references))
    found = np.empty(len(vectors), dtype=np.int16)
    share = np.empty(len(vectors), dtype=np.float32)
    for start in range(0, len(vectors), ROWS_AT_ONCE):
        cosines = vectors[start : start + ROWS_AT_ONCE] @ references.T
        nearest = np.argpartition(-cosines, k - 1, axis=1)[:, :k]
        weights = np.maximum(np.take_along_axis(cosines, nearest, axis=1), 1e-6)
        votes = ((types[nearest][:, :, None] == np.arange(len(TYPES))) * weights[:, :, None]).sum(axis=1)
        found[start : start + ROWS_AT_ONCE] = votes.argmax(axis=1)
        share[start : start + ROWS_AT_ONCE] = votes.max(axis=1) / weights.sum(axis=1)
    return found, share
