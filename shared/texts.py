"""Texts in both languages, as a field of an answer: the HTTP layer writes them out in the client's language."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, PlainSerializer, SerializationInfo, WithJsonSchema

Language = Literal["zh", "en"]


@dataclass(frozen=True)
class Text:
    """One text in Chinese and English; `{name}` stands for a field that `fill` puts in."""

    zh: str
    en: str

    def say(self, language: Language) -> str:
        return self.en if language == "en" else self.zh

    def fill(self, language: Language, data: BaseModel) -> str:
        """The text in one language, with the fields of `data` in their places."""
        return self.say(language).format_map(dict(data))


def _in_the_clients_language(text: Text, info: SerializationInfo) -> str:
    context: dict[str, Any] = info.context or {}
    return text.say(context.get("language", "zh"))


# The type of such a field in an answer's model. JSON holds a plain string.
AnswerText = Annotated[Text, PlainSerializer(_in_the_clients_language, return_type=str),
                       WithJsonSchema({"type": "string"})]
