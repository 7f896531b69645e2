"""Texts in both languages. As a field of an answer, a text is written out in the client's language."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, GetCoreSchemaHandler, SerializationInfo
from pydantic_core import CoreSchema, core_schema

from shared.rules.bilingual import Bilingual

Language = Literal["zh", "en"]


@dataclass(frozen=True)
class Text(Bilingual):
    """A text that an answer may hold; `{name}` stands for a field that `fill` puts in."""

    @classmethod
    def of(cls, text: Bilingual) -> Text:
        return cls(text.zh, text.en)

    def say(self, language: Language) -> str:
        return self.en if language == "en" else self.zh

    def fill(self, language: Language, data: BaseModel) -> str:
        """The text in one language, with the fields of `data` in their places."""
        text = self.say(language)
        return text.format_map(dict(data)) if "{" in text else text

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """In a model: an instance, which JSON holds as a plain string. The language is in the serializer's context."""
        write = core_schema.plain_serializer_function_ser_schema(_write, info_arg=True,
                                                                 return_schema=core_schema.str_schema())
        return core_schema.is_instance_schema(cls, serialization=write)


def _write(text: Text, info: SerializationInfo) -> str:
    context: dict[str, Language] = info.context or {}
    return text.say(context.get("language", "zh"))
