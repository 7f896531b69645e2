"""Why an upload cannot be converted."""
from __future__ import annotations

from typing import Any

from shared.rules.bilingual import NOTHING, Bilingual, Template, without_addresses
from shared.rules.error_codes import check_code

MAX_CHARS = 2000


class Refusal(Exception):
    """The conversion cannot go on, for a reason that the user should read.

    `code` is one of `shared.rules.error_codes` (`unsupported_operator`), `message` says what is wrong with what, `hint`
    what to change; both are English, and Chinese with `_zh`. `vendor_code` is the tool's own code, if it has one.

    Raises:
        ValueError: the table has no such code.
    """

    def __init__(self, code: str, message: Bilingual, hint: Bilingual = NOTHING, vendor_code: str | None = None
                 ) -> None:
        super().__init__(without_addresses(message.en))
        self.code = check_code(code)
        self.message, self.message_zh = without_addresses(message.en), without_addresses(message.zh)
        self.hint, self.hint_zh = hint.en, hint.zh
        self.vendor_code = vendor_code
        # What the stage had found out all the same, as plain JSON: for a table of attempts, and no part of the message.
        self.found: dict[str, Any] = {}

    @property
    def text(self) -> Bilingual:
        return Bilingual(self.message_zh, self.message)

    @property
    def advice(self) -> Bilingual:
        return Bilingual(self.hint_zh, self.hint)

    def told_as(self, message: Bilingual) -> Refusal:
        """The same, with another message around its own."""
        return type(self)(self.code, message, self.advice, self.vendor_code)

    def to_json(self) -> dict[str, Any]:
        """All of it, to be carried from one process to another; of the texts at most `MAX_CHARS` each."""
        text, advice = self.text.cut(MAX_CHARS), self.advice.cut(MAX_CHARS)
        return {"code": self.code, "message": text.en, "message_zh": text.zh, "hint": advice.en, "hint_zh": advice.zh,
                "vendor_code": self.vendor_code}

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> Refusal:
        """Raises:
            KeyError, TypeError, ValueError: it is not what `to_json` has made.
        """
        return cls(told["code"], Bilingual(told["message_zh"], told["message"]),
                   Bilingual(told["hint_zh"], told["hint"]), told.get("vendor_code") or None)


class Unusable(ValueError):
    """What is wrong with a file, `text`; who catches it knows which file that is."""

    def __init__(self, text: Bilingual) -> None:
        super().__init__(text.en)
        self.text = text


class Reason:
    """An entry of a catalogue: a code, and its message and hint as templates. Called with their parameters it is a
    `Refusal`, to be raised."""

    def __init__(self, code: str, zh: str, en: str, hint_zh: str = "", hint_en: str = "") -> None:
        self.code = check_code(code)
        self.message = Template(zh, en)
        self.hint = Template(hint_zh, hint_en)

    def __call__(self, *, vendor_code: str | None = None, **parameters: Any) -> Refusal:
        return Refusal(self.code, self.message(**parameters), self.hint(**parameters), vendor_code)
