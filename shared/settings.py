"""One frozen settings object, read from the environment (prefix `MODEL_CONVERT_`).

Plain pydantic instead of pydantic-settings: the latter costs 0.17 s at import (measured), two thirds of a bare
function's whole cold start.
"""
from __future__ import annotations

import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal, get_args
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo

from shared.secret_files import WrongSecretFile, read_given
from shared.tls import Tls, find_holes

PREFIX = "MODEL_CONVERT_"
# Algorithms whose keys the provider can publish: with the others (HS256, none) anybody could sign.
KEY_PAIRS = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"})


def _split(value: object) -> object:
    """A list setting is one string, its parts separated by `:` or `,`."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.replace(",", ":").split(":") if part.strip())
    return value


def _split_numbers(value: object) -> object:
    """Numbers by name are one string, `NAME=1,OTHER=2`."""
    if not isinstance(value, str):
        return value
    pairs = [part.strip().partition("=") for part in value.split(",") if part.strip()]
    numbers = {name.strip(): number.strip() for name, _, number in pairs}
    if len(numbers) < len(pairs):
        raise ValueError("a name is there twice")
    return numbers


def _split_by_comma(value: object) -> object:
    """A list whose parts may have a `:`."""
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_split)]
Paths = Annotated[tuple[Path, ...], BeforeValidator(_split)]
Entries = Annotated[tuple[str, ...], BeforeValidator(_split_by_comma)]
Hosts = Annotated[tuple[Annotated[str, Field(pattern=r"^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+)$")], ...],
                  BeforeValidator(_split_by_comma)]
Origins = Annotated[tuple[Annotated[str, Field(pattern=r"^https?://(\[[0-9a-f:.]+\]|[a-z0-9_.-]+)(:[0-9]+)?$")], ...],
                    BeforeValidator(_split_by_comma)]
Counts = Annotated[dict[Annotated[str, Field(min_length=1)], Annotated[int, Field(ge=1)]],
                   BeforeValidator(_split_numbers)]


def _or_off(value: object) -> object:
    return None if value == "off" else value


Limit = Annotated[Annotated[int, Field(ge=1)] | None, BeforeValidator(_or_off)]
Life = Annotated[Annotated[float, Field(gt=0)] | None, BeforeValidator(_or_off)]


def cache_home() -> Path:
    """The user's cache folder for everything that this service and its tools download, build or keep."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "model-convert"


class WrongSettings(Exception):
    """The environment's settings cannot be used: the service does not start. The text names the variables."""


class Settings(BaseModel):
    """All settings; each field `x` is read from `MODEL_CONVERT_X`, and each `SecretStr` also from the file that
    `MODEL_CONVERT_X_FILE` names. Times end in `_s` (seconds)."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)  # some of them are secrets

    # Adapters, chosen by URL scheme.
    store_url: SecretStr = Field(SecretStr("sqlite:data/tasks.db"), description="sqlite:PATH or mongodb://…/DB")
    queue_url: SecretStr = Field(SecretStr("poll:"), description="poll: or amqp://…")
    files_url: SecretStr = Field(SecretStr("file:data/buckets"), description="file:DIR or minio://KEY:SECRET@HOST:PORT")
    # TLS to them is asked for in the URLs: mongodb://…?tls=true, amqps://, minios://.
    ca_file: Path | None = Field(None, description="certificate authorities (PEM) that are trusted instead of the "
                                                   "system's, for all three")
    certificate_file: Path | None = Field(None, description="the service's own certificate with its chain and its key "
                                                            "(PEM), for servers that ask for one")

    # Who may do what.
    auth: Literal["keys", "open"] | None = Field(None, description="keys: requests show a key; open: none does. By "
                                                                   "default open where the server listens on loopback "
                                                                   "alone, and keys elsewhere")

    cache_shared: bool = Field(False, description="whether tenants share stages' results: a hit tells that somebody "
                                                  "else has the model")

    # Tokens of an identity provider (OpenID Connect), as the other way in.
    jwt_issuer: str = Field("", description="the provider, as `iss` names it; empty: no tokens are taken")
    jwt_audience: str = Field("", description="this service, as `aud` names it")
    jwt_keys_url: str = Field("", description="where the provider publishes its keys (JWKS): https, or on loopback "
                                               "http")
    jwt_algorithms: Names = Field(("RS256", "ES256"), description="by which tokens may be signed; those of key pairs")
    jwt_tenant_claim: str = Field("tenant", min_length=1, description="the claim that names the tenant")
    jwt_scopes_claim: str = Field("scope", min_length=1, description="the claim with the scopes: a list, or one text")
    jwt_scope_prefix: str = Field("", description="what stands before read, write and admin in that claim")
    jwt_prefixes_claim: str = Field("", description="the claim with the prefixes that may be named; empty: none")

    # What a request may name.
    local_roots: Paths = Field((), description="directories below which absolute input and output paths are allowed")
    buckets: Names = Field(("*",), description="buckets that requests may name; * is any but the cache's own")
    results_bucket: str = Field("results", description="where artefacts go when a task names no output_path")
    uploads_bucket: str = Field("uploads", description="where files go that POST /uploads makes room for")
    cache_bucket: str = Field("model-convert-cache", description="stage results shared by all workers")
    cache_bucket_bytes: int = Field(100 << 30, ge=0, description="of the cache bucket before results go that were not "
                                                                 "used for longest; those that live tasks need stay")
    cache_life_s: float = Field(30 * 86400.0, gt=0, description="results and logs that nobody used for so long go")
    cache_grace_s: float = Field(3600.0, gt=0, description="what was stored or used so lately stays in any case")
    gc_every_s: float = Field(900.0, gt=0, description="how often one of the workers looks for what is to go")
    triggers: Path | None = Field(None, description="the file with the rules of which uploads start which conversions; "
                                                    "without it only models-in/<platform>/<chip>/ does")
    triggers_every_s: float = Field(60.0, gt=0, description="how often the rules' prefixes are listed for uploads that "
                                                            "no event told of; of a local folder every second")
    task_life_s: Life = Field(None, description="tasks that ended so long ago are deleted, unless another task names "
                                                "their results; off is for ever")
    upload_life_s: Life = Field(None, description="uploads go that no task names, so long after the last of them was "
                                                  "written; off is for ever")
    max_body_bytes: int = Field(1 << 20, gt=0)
    max_model_bytes: int = Field(8 << 30, gt=0)

    # Uploads through POST /uploads.
    upload_url_s: float = Field(900.0, ge=1, le=900, description="how long an upload's URLs can be used")
    upload_part_bytes: int = Field(64 << 20, ge=5 << 20,  # S3 takes no smaller parts
                                   description="larger files are uploaded in parts of this size, each of which can be "
                                               "sent again")
    upload_secret: SecretStr | None = Field(None, min_length=16, description="signs the URLs of uploads to local "
                                            "files; by default a random one that lies beside these files")
    public_url: str = Field("", pattern=r"^(https?://[^/?#\s]+(/[^?#\s]*)?)?$", description="where clients reach the "
                            "gateway; by default where the request that asks has reached it")
    files_public_url: str = Field("", pattern=r"^(https?://[^/?#\s]+/?)?$", description="where clients reach the "
                                  "object store, http(s)://HOST:PORT; by default as files_url names it")
    hosts: Hosts = Field((), description="the names in Host by which clients reach the service; others are refused. "
                                         "Without any, a connection to loopback has to name loopback or public_url")
    cors_origins: Origins = Field((), description="pages of other hosts that may use the service, SCHEME://HOST[:PORT] "
                                                  "each, separated by commas")
    # Downloads.
    download_url_s: float = Field(300.0, ge=1, le=900, description="how long the URLs can be used that GET "
                                                                   "/tasks/{task_id}/files/{name} leads to")

    # Events of object stores.
    events_token: SecretStr = Field(SecretStr(""), description="what POST /events/storage has to show; empty: nothing")

    # Announcements: what is sent to a task's `callback_url` when it has ended.
    callback_secret: SecretStr = Field(SecretStr(""), description="signs announcements: whsec_ and base64, as Standard "
                                       "Webhooks has it; of several, separated by commas, each signs. Empty: nothing "
                                       "is announced")
    callback_allow: Entries = Field((), description="HOST:PORT and networks that callbacks may reach although they are "
                                                    "not on the public internet, or by http")
    callback_pauses: float = Field(1.0, ge=0, description="the pauses between the ten attempts of an announcement, "
                                                          "from 5 s to a day, times this")

    # Before a task is created, its model is looked at, if it is there and small.
    preflight: bool = Field(True, description="refuse to create what cannot be converted")
    preflight_s: float = Field(0.5, gt=0, description="how long that may hold up POST /tasks/create; beyond it the "
                                                      "task is created")

    # Every call to a dependency ends within this time, so that an HTTP answer never takes longer than two seconds.
    dependency_timeout_s: float = Field(1.5, gt=0)

    # What one request may cost.
    client_s: float = Field(15.0, gt=0, description="how long a client may take to send a request to the gateway, and "
                                                    "how long it may take nothing of an answer")
    connections: int = Field(1000, ge=10, description="connections of one process of the gateway; beyond them the one "
                                                      "ends that has let the gateway wait longest for a request")
    request_s: float = Field(10.0, gt=0, description="the longest work on one request")

    # What one caller may take, and all together. Without keys all clients are one caller. The processes of a gateway
    # count together, and each gateway and each function that is served alone by itself.
    limit_requests_per_s: Limit = Field(None, description="requests of a caller in a second, as many at once; off")
    limit_all_requests_per_s: Limit = Field(None, description="the same of all callers together; off")
    limit_waiting_tasks: Limit = Field(None, description="tasks of a caller that no worker has begun; off")
    limit_all_waiting_tasks: Limit = Field(None, description="the same of all callers together; off")
    limit_upload_bytes_per_day: Limit = Field(None, description="of the files that a caller makes room for by POST "
                                                                "/uploads in a day, as many at once; off")
    limit_all_upload_bytes_per_day: Limit = Field(None, description="the same of all callers together; off")
    limit_streams: Limit = Field(None, description="event streams that a caller has open at once; off")

    # Event streams. Each holds a thread of its process as long as it lasts, but for the gateway's.
    sse_max_s: float = Field(300.0, gt=0, description="after so long a stream ends, and its client connects anew")
    sse_streams: int = Field(4, ge=1, description="streams that one process serves at once; the gateway's default is "
                                                  "200")

    # Worker.
    platforms: Names = Field((), description="targets this worker serves; empty is all whose toolchain is installed")
    slots: int = Field(2, ge=1, description="tasks that one worker runs at once")
    platform_slots: Counts = Field({}, description="NAME=1,OTHER=2: tasks of a target that one worker runs at once; "
                                                   "the targets that are not named have no limit but slots")
    beat_s: float = Field(1.0, gt=0, description="how often an owner beats")
    lease_s: float = Field(15.0, gt=0, description="an owner silent for so long counts as dead")
    poll_s: float = Field(0.05, gt=0, description="how often poll: looks at the store")
    sweep_s: float = Field(5.0, gt=0, description="how often waiting tasks are looked for without a doorbell")
    retry_delay_s: float = Field(2.0, ge=0, description="pause before a task that lost its worker runs again")
    max_retries: int = Field(3, ge=0, description="lost workers since the last finished stage before a task fails")
    max_returns: int = Field(30, ge=0, le=35,  # a task keeps 200 events, and these are counted by them
                             description="how often a task is given back for want of the object store since its last "
                                         "finished stage before it fails; the pauses grow from retry_delay_s to 5 "
                                         "minutes, to about two hours in all")
    stage_time_s: float = Field(6 * 3600.0, gt=0, description="longest run of one stage, whatever the task asks for")
    stage_memory_bytes: int = Field(16 << 30, gt=0, description="of a stage's whole process group")
    hold_s: float = Field(60.0, ge=0, description="how long a paused stage stays frozen in memory")
    grace_s: float = Field(20.0, ge=0, description="how long SIGTERM lets running stages finish")
    work_dir: Path = Field(default_factory=lambda: cache_home() / "work", description="best on cache_dir's disk")
    cache_dir: Path = Field(default_factory=lambda: cache_home() / "stages")
    cache_bytes: int = Field(20 << 30, ge=0, description="size of the local stage cache before old entries go")
    toolchains_dir: Path = Field(default_factory=lambda: cache_home() / "toolchains")
    toolchain_env: Names = Field((), description="environment variables that toolchains may see beside the defaults")

    log_level: str = "INFO"

    @property
    def tls(self) -> Tls:
        return Tls(self.ca_file, self.certificate_file)

    @field_validator("store_url", "queue_url", "files_url")
    @classmethod
    def _check_url(cls, value: SecretStr) -> SecretStr:
        if holes := find_holes(value.get_secret_value()):
            raise ValueError(f"{', '.join(holes)} would turn the check of certificates off; "
                             f"{PREFIX}CA_FILE names authorities of your own")
        return value

    @field_validator("ca_file", "certificate_file")
    @classmethod
    def _check_pem(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if value is not None:
            try:
                Tls(**{str(info.field_name): value}).make_context()
            except OSError as error:  # OpenSSL's too: it says "no start line" of what is no PEM
                raise ValueError(f"{value} cannot be used: {error.strerror or error}") from None
        return value

    @field_validator("callback_secret")
    @classmethod
    def _check_secrets(cls, value: SecretStr) -> SecretStr:
        if value.get_secret_value():
            from shared.announcements.signing import read_secrets  # functions do not sign

            read_secrets(value.get_secret_value())
        return value

    @field_validator("jwt_algorithms")
    @classmethod
    def _check_algorithms(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value or not KEY_PAIRS.issuperset(value):
            raise ValueError(f"should be some of {', '.join(sorted(KEY_PAIRS))}")
        return value

    @model_validator(mode="after")
    def _check_provider(self) -> Settings:
        if not self.jwt_issuer:
            return self
        if not self.jwt_audience:
            raise WrongSettings(f"{PREFIX}JWT_AUDIENCE: has to be set where {PREFIX}JWT_ISSUER is")
        parts = urlsplit(self.jwt_keys_url)
        from shared.access.loopback import is_loopback

        host = parts.hostname or ""
        if not (host and (parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host)))):
            raise WrongSettings(f"{PREFIX}JWT_KEYS_URL: should be https://…, or http://… on loopback, where "
                                f"{PREFIX}JWT_ISSUER is set")
        return self

    @field_validator("callback_allow")
    @classmethod
    def _check_allowed(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if value:
            from shared.announcements.allowed import read_allowed

            read_allowed(value)
        return value


def read_settings(environ: Mapping[str, str]) -> Settings:
    """Settings from a mapping of environment variables.

    Raises:
        pydantic.ValidationError: a value does not fit its field.
        WrongSecretFile: a secret's file cannot be used.
    """
    given: dict[str, str] = {}
    for name, field in Settings.model_fields.items():
        variable = PREFIX + name.upper()
        value = read_given(environ, variable) if _is_secret(field) else environ.get(variable)
        if value is not None:
            given[name] = value
    return Settings.model_validate(given)


def _is_secret(field: FieldInfo) -> bool:
    return SecretStr in (field.annotation, *get_args(field.annotation))


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """The process's settings; read once. Tests call `get_settings.cache_clear()`.

    Raises:
        WrongSettings.
    """
    try:
        return read_settings(os.environ)
    except WrongSecretFile as error:
        raise WrongSettings(str(error)) from None
    except ValidationError as error:
        wrong = [f"{PREFIX}{str(found['loc'][0]).upper()}: {found['msg'].removeprefix('Value error, ')}"
                 for found in error.errors(include_url=False, include_input=False, include_context=False)]
        raise WrongSettings("; ".join(wrong)) from None  # the cause holds what was given
