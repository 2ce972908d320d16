"""When two texts name the same person: identifiers are compared in a normal form that their source declares."""

import unicodedata
from enum import Enum


class NormalForm(Enum):
    """What of an identifier counts. Blanks around it never do, nor how Unicode composes its letters.

    `EXACT`: every character, in its case. `CASELESS`: every character, in any case (UUIDs, e-mail addresses). `DIGITS`:
    its digits alone, in any script (a CPF, a telephone number).
    """

    EXACT = "exact"
    CASELESS = "caseless"
    DIGITS = "digits"

    def of(self, identifier: str) -> str:
        """The normal form of an identifier; empty where it names nobody."""
        composed = unicodedata.normalize("NFC", identifier).strip()
        match self:
            case NormalForm.EXACT:
                return composed
            case NormalForm.CASELESS:
                # Folding decomposes some letters, and what composing yields may fold again: twice is stable.
                once = unicodedata.normalize("NFC", composed.casefold())
                return unicodedata.normalize("NFC", once.casefold()).strip()
            case NormalForm.DIGITS:
                return "".join(str(unicodedata.decimal(one)) for one in composed if one.isdecimal())
