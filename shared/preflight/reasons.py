"""The catalogue of what the pre-flight alone says; what the stages say too is in `shared.rules.reasons`."""
from __future__ import annotations

from shared.rules.bilingual import Bilingual, Template
from shared.rules.refusal import Reason

NO_MODEL = Reason("input_not_found", "没有对象 {path}", "there is no object {path}",
                  "先上传模型", "upload the model first")
OPERATORS_REFUSED = Reason(
    "unsupported_operator", "目标平台的编译器不支持: {names}", "the target's compiler does not take: {names}",
    "替换为其支持的算子, 或在其之前结束模型", "replace them by operators that it takes, or end the model before them")
OPERATORS_AT_THE_END = Reason(
    "unsupported_operator", "目标平台的编译器不支持: {names}", "the target's compiler does not take: {names}",
    "只转换其余部分: parameters.{cut}; 剩下的在 CPU 上计算. 或替换这些算子",
    "convert the part without them: parameters.{cut}, and compute the rest on the CPU; or replace them")
MAY_BE_REFUSED = Template("目标平台的编译器遇到时可能拒绝: {names}",
                          "the target's compiler may refuse, where it meets them: {names}")
NOT_KNOWN = Template("尚不清楚目标平台的编译器是否支持: {names}",
                     "not known whether the target's compiler takes: {names}")
NOT_PUBLISHED = Template("不在厂商公布的支持清单中, 可能被拒绝: {names} ({source})",
                         "not in the vendor's published list, so probably refused: {names} ({source})")
PUBLISHED_ONLY = Template("算子仅与厂商公布的清单比较过, 未经实测: {source}",
                          "the operators were compared with the vendor's published list alone, which was not tried: "
                          "{source}")
NO_LIST = Bilingual("没有该目标平台支持的算子清单", "there is no list of the operators that this target takes")

HOPELESS = Template("{where} 无法转换 ({code}): {target}{message}; {hint}",
                    "{where} cannot be converted ({code}): {target}{message}; {hint}")

# --- why a check is incomplete
NOT_ALL = Template("未完整检查{what}: {why}", "{what} was not checked as a whole: {why}")
THE_MODEL, THE_SET = Bilingual("模型", "the model"), Bilingual("校准集", "the calibration set")
TOO_SLOW = Bilingual("所需时间超过检查的上限", "it takes longer than a check may")
TOO_EXPENSIVE = Bilingual("所需内存或时间超过检查的上限", "it takes more memory or time than a check may")
TOO_MUCH_MEMORY = Bilingual("所需内存超过检查的上限", "it takes more memory than a check may")
REMOVED = Bilingual("在此期间被删除", "it was removed meanwhile")
DIRECTORY_TOO_LARGE = Template("目录超过 {mib} MiB", "its directory takes more than {mib} MiB")
TOO_MANY_DATA_FILES = Template("外部数据文件超过 {limit} 个", "it has more than {limit} files of external data")
