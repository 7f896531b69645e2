"""What clients send for an upload."""
from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from shared.schema import StrictModel, UploadIdText, UploadName, exactly_one, wrong

MAX_FILES = 1000  # of one upload
MAX_SIZE_BYTES = 1 << 50

SizeBytes = Annotated[int, Field(ge=1, le=MAX_SIZE_BYTES)]
Sha256Text = Annotated[str, Field(pattern="^[0-9a-fA-F]{64}$"), AfterValidator(str.lower)]


class FileToUpload(StrictModel):
    file_name: UploadName = Field(description="may have folders, as the locations of external data may")
    size_bytes: SizeBytes
    sha256: Sha256Text | None = Field(None, description="the conversion fails if the content is another")


class CreateUpload(StrictModel):
    """One file, several (a model with external data), or more URLs for an upload that was made before."""

    file_name: UploadName | None = None
    size_bytes: SizeBytes | None = None
    sha256: Sha256Text | None = None
    files: list[FileToUpload] | None = Field(None, min_length=1, max_length=MAX_FILES)
    upload_id: UploadIdText | None = Field(None, description="new URLs for what has not arrived of this upload")

    model_config = ConfigDict(json_schema_extra=exactly_one(file_name="string", files="array", upload_id="string") | {
        "allOf": [{"if": {"required": ["file_name"], "properties": {"file_name": {"type": "string"}}},
                   "then": {"required": ["size_bytes"], "properties": {"size_bytes": {"type": "integer"}}},
                   "else": {"properties": {"size_bytes": {"type": "null"}, "sha256": {"type": "null"}}}}]})

    @model_validator(mode="after")
    def _check_one_of_all(self) -> CreateUpload:
        if [self.file_name, self.files, self.upload_id].count(None) != 2:
            raise wrong("应有 file_name、files 与 upload_id 三者之一, 且仅其一",
                        "should have one of file_name, files and upload_id, and only one")
        if (self.file_name is None) != (self.size_bytes is None) or (self.file_name is None and self.sha256):
            raise wrong("中 size_bytes (及 sha256) 应与 file_name 一起发送",
                        "should have size_bytes, and sha256 if at all, together with file_name")
        return self

    def all_files(self) -> list[FileToUpload]:
        """Those of a new upload."""
        if self.files is not None:
            return self.files
        return [] if self.file_name is None or self.size_bytes is None else [
            FileToUpload(file_name=self.file_name, size_bytes=self.size_bytes, sha256=self.sha256)]


class UploadRef(StrictModel):
    upload_id: UploadIdText
