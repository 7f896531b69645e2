"""The catalogue of why a request is not let in."""
from __future__ import annotations

from shared.rules.bilingual import Bilingual

_HOW = Bilingual("请求头应为 Authorization: Bearer <密钥>", "send Authorization: Bearer KEY")

MISSING = Bilingual(f"缺少密钥: {_HOW.zh}", f"a key is needed: {_HOW.en}")
MALFORMED = Bilingual("密钥格式错误或校验和不符: 请检查是否完整复制",
                      "this is no key, or not the whole of one: its form or its checksum is wrong")
UNKNOWN = Bilingual("密钥无效", "this key is not known here")
REVOKED = Bilingual("密钥已被吊销", "this key was revoked")
EXPIRED = Bilingual("密钥已过期", "this key has expired")
NO_SCOPE = Bilingual("密钥没有所需的权限 {scope}", "the key lacks the scope {scope}, which this needs")
NOT_YOURS = Bilingual("该密钥不允许使用此路径", "this key may not name this path")
EVENTS_TOKEN = Bilingual("此部署要求密钥, 但未设置 MODEL_CONVERT_EVENTS_TOKEN, 因此不接收通知",
                         "keys are needed here, and MODEL_CONVERT_EVENTS_TOKEN is not set: no event is taken")
TOKEN_FORM = Bilingual("令牌格式错误", "this is neither a key nor a token")
TOKEN_SIGNER = Bilingual("令牌不是由本服务所信任的身份提供方签发",
                         "the token is not signed by the identity provider, or not in a way that is taken here")
TOKEN_OVER = Bilingual("令牌已过期", "the token's time is over")
TOKEN_CLAIMS = Bilingual("令牌的 iss, aud, exp 或 nbf 不符",
                         "the token's issuer, audience or times are not those that are taken here")
TOKEN_TENANT = Bilingual("令牌未指明有效的租户", "the token names no tenant")
