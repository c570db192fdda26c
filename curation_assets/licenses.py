"""What the licences of data say to three uses, as one stated table. A reading aid and no legal advice.

Read from the licences' own texts and from what their publishers say of them; ids are SPDX's (https://spdx.org/licenses) where it has one.
`yes`: the licence's conditions are kept by keeping its notice and attribution. `conditions`: it allows the use under a
condition that whoever trains has to look at (share-alike, copyleft, no derivatives, terms of use). `no`: it excludes the
use. A licence that is not in the table, or not stated, is `unknown`: someone has to read it.
"""

import re
from typing import NamedTuple

USES = ("commercial-training", "research", "internal-evaluation")
"""What a set may be declared to be for: training a model that earns money; research without commercial
advantage; measuring models in-house."""


class Terms(NamedTuple):
    """What a licence says to each use: yes, conditions or no; and the condition."""

    commercial: str
    research: str
    evaluation: str
    note: str = ""


_ATTRIBUTION = Terms("yes", "yes", "yes", "keep the notice; name the authors")
_PUBLIC = Terms("yes", "yes", "yes")
_NONCOMMERCIAL = Terms("no", "yes", "conditions", "no use primarily for commercial advantage")
_SHARE_ALIKE = Terms(
    "conditions",
    "conditions",
    "yes",
    "what is adapted from it must be shared alike; whether a model is an adaptation is disputed",
)
_NO_DERIVATIVES = Terms(
    "conditions", "conditions", "yes", "adaptations may not be shared; whether a data set or a model is one is disputed"
)
_COPYLEFT = Terms(
    "conditions",
    "conditions",
    "yes",
    "copyleft: what is derived from it falls under it; whether a model or its output does is disputed",
)

TABLE: dict[str, Terms] = {
    # public domain and equivalents
    **dict.fromkeys(("CC0-1.0", "PDDL-1.0", "Unlicense", "0BSD", "MIT-0", "WTFPL", "PUBLIC-DOMAIN"), _PUBLIC),
    # attribution
    **dict.fromkeys(
        (
            "CC-BY-2.0",
            "CC-BY-2.5",
            "CC-BY-3.0",
            "CC-BY-4.0",
            "ODC-BY-1.0",
            "CDLA-PERMISSIVE-1.0",
            "CDLA-PERMISSIVE-2.0",
            "OGL-UK-3.0",
            "ETALAB-2.0",
            "MIT",
            "Apache-2.0",
            "BSD-2-Clause",
            "BSD-3-Clause",
            "BSD-3-Clause-Clear",
            "ISC",
            "Zlib",
            "PSF-2.0",
            "PYTHON-2.0",
            "BSL-1.0",
            "HPND",
            "NCSA",
            "MIT-CMU",
            "UPL-1.0",
            "ECL-2.0",
            "Artistic-2.0",
            "AFL-3.0",
            "X11",
            "BLUEOAK-1.0.0",
            "UNICODE-3.0",
            "CNRI-PYTHON",
        ),
        _ATTRIBUTION,
    ),
    # share-alike and copyleft
    **dict.fromkeys(
        (
            "CC-BY-SA-2.0",
            "CC-BY-SA-2.5",
            "CC-BY-SA-3.0",
            "CC-BY-SA-4.0",
            "ODBL-1.0",
            "CDLA-SHARING-1.0",
            "GFDL-1.3",
            "GFDL-1.2",
        ),
        _SHARE_ALIKE,
    ),
    **dict.fromkeys(
        ("GPL-2.0", "GPL-3.0", "LGPL-2.1", "LGPL-3.0", "AGPL-3.0", "MPL-2.0", "EPL-2.0", "EUPL-1.2", "CECILL-2.1"),
        _COPYLEFT,
    ),
    # no derivatives, non-commercial
    **dict.fromkeys(("CC-BY-ND-3.0", "CC-BY-ND-4.0"), _NO_DERIVATIVES),
    **dict.fromkeys(("CC-BY-NC-2.0", "CC-BY-NC-3.0", "CC-BY-NC-4.0"), _NONCOMMERCIAL),
    **dict.fromkeys(
        ("CC-BY-NC-SA-3.0", "CC-BY-NC-SA-4.0", "CC-BY-NC-ND-3.0", "CC-BY-NC-ND-4.0"),
        Terms("no", "conditions", "conditions", "no commercial advantage; and share-alike or no derivatives"),
    ),
    "CC-BY-NC": _NONCOMMERCIAL,
    # terms of models and sites that are no open licence
    "LLAMA2": Terms(
        "conditions", "conditions", "conditions", "Meta's terms: output may not train other models than Llama"
    ),
    "LLAMA3": Terms(
        "conditions", "conditions", "conditions", "Meta's terms: output may not train other models than Llama"
    ),
    "LLAMA3.1": Terms(
        "conditions", "conditions", "conditions", "Meta's terms: a model trained on output has Llama in its name"
    ),
    "OPENAI-TERMS": Terms(
        "conditions", "conditions", "conditions", "OpenAI's terms: output may not be used to make competing models"
    ),
    "RAIL": Terms("conditions", "conditions", "conditions", "use restrictions that are handed on"),
    "OPENRAIL": Terms("conditions", "conditions", "conditions", "use restrictions that are handed on"),
}

_ALIASES = {
    "APACHE2": "APACHE-2.0",
    "APACHE-2": "APACHE-2.0",
    "APACHE": "APACHE-2.0",
    "APACHE-SOFTWARE": "APACHE-2.0",
    "APACHE-LICENSE-2.0": "APACHE-2.0",
    "MIT-LICENSE": "MIT",
    "CC0": "CC0-1.0",
    "CC-ZERO": "CC0-1.0",
    "PUBLICDOMAIN": "PUBLIC-DOMAIN",
    "PD": "PUBLIC-DOMAIN",
    "BSD": "BSD-3-CLAUSE",
    "BSD-3": "BSD-3-CLAUSE",
    "NEW-BSD": "BSD-3-CLAUSE",
    "ODBL": "ODBL-1.0",
    "ODC-BY": "ODC-BY-1.0",
    "PSF": "PSF-2.0",
    "PSFL": "PSF-2.0",
    "GPLV3": "GPL-3.0",
    "GPLV2": "GPL-2.0",
    "LGPLV3": "LGPL-3.0",
    "AGPLV3": "AGPL-3.0",
}
_BY_ID = {name.upper(): terms for name, terms in TABLE.items()}
_ORDER = {"no": 0, "unknown": 1, "conditions": 2, "yes": 3}


def compatibility(license: str | None, use: str) -> tuple[str, str]:
    """What a stated licence says to a use (yes, conditions, no or unknown), and the condition.

    An SPDX expression is read: OR takes the best of its parts, AND the worst.

    >>> compatibility("cc-by-4.0", "commercial-training")[0], compatibility("CC-BY-NC-4.0", "commercial-training")[0]
    ('yes', 'no')
    >>> compatibility("MIT OR GPL-3.0-only", "commercial-training")[0], compatibility("MIT AND GPL-3.0-only", "commercial-training")[0]
    ('yes', 'conditions')
    >>> compatibility(None, "research"), compatibility("ask Bob", "research")[0]
    (('unknown', 'no licence is stated'), 'unknown')
    """
    if not license or not license.strip():
        return "unknown", "no licence is stated"
    alternatives = [
        min(
            (_one(part, use) for part in re.split(r"\s+AND\s+", alternative, flags=re.IGNORECASE)),
            key=lambda said: _ORDER[said[0]],
        )
        for alternative in re.split(r"\s+OR\s+", license.strip("() "), flags=re.IGNORECASE)
    ]
    return max(alternatives, key=lambda said: _ORDER[said[0]])


def _one(license: str, use: str) -> tuple[str, str]:
    name = re.sub(r"\s+WITH\s+.*$", "", license.strip("() "), flags=re.IGNORECASE)
    name = re.sub(r"(?<=\d)(-ONLY|-OR-LATER|\+)$", "", re.sub(r"[\s_]+", "-", name.upper()))
    terms = _BY_ID.get(_ALIASES.get(name, name))
    if terms is None:
        return "unknown", "this licence is not in the table; someone has to read it"
    return {
        "commercial-training": terms.commercial,
        "research": terms.research,
        "internal-evaluation": terms.evaluation,
    }[use], terms.note
