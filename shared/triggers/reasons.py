"""The catalogue of why an object starts no conversion."""
from __future__ import annotations

from shared.rules.bilingual import Bilingual, Template

BAD_NAME = Template("对象名无效: {why}", "the object's name is not valid: {why}")
OUTSIDE = Bilingual("没有适用于该对象的触发规则", "no rule fits the object")
GONE = Bilingual("对象已不存在", "the object is gone")
CHANGING = Bilingual("文件仍在变化; 静止后会再次查看",
                     "the file still changes; it is looked at again once it stands still")
NOT_READ = Bilingual("系统繁忙, 未能及时读取模型; 定期扫描会再次查看",
                     "the machine is too busy to read the model in time; the sweep looks at it again")
OWN_RESULT = Bilingual("对象是本服务的转换结果", "the object is a result of this service")
NO_MODEL_YET = Template("附属文件 {path} 没有对应的模型; 模型上传后生效",
                        "the sidecar {path} has no model; it counts once the model is there")
REFUSED_BY_STORE = Template("对象存储拒绝访问: {why}", "the object store refuses it: {why}")
DELETED = Bilingual("该对象的任务已被删除; 重新上传对象即可再次转换",
                    "the object's task was deleted; upload the object again to convert it again")
UNKNOWN_PLATFORM = Template(
    "{name} 不是目标平台; 目录应为 {root}/<platform>/…, platform 为以下值之一: {known}",
    "{name} is no target; the folder should be {root}/<platform>/… with one of: {known}")
UNKNOWN_CHIP = Template(
    "{name} 不是 {platform} 的芯片: {why}; 目录应为 {root}/{platform}/<chip>/…",
    "{name} is no chip of {platform}: {why}; the folder should be {root}/{platform}/<chip>/…")
NO_CHIP = Template("缺少芯片; 目录应为 {root}/{platform}/<chip>/…",
                   "the chip is missing; the folder should be {root}/{platform}/<chip>/…")
WRONG_SUFFIX = Template("{platform} 接受的模型文件名应以 {suffixes} 结尾",
                        "a model for {platform} should end in {suffixes}")
BAD_METADATA = Template("对象的元数据 {name} 无效: {why}", "the object's metadata {name} is not valid: {why}")
BAD_SIDECAR = Template("附属文件 {path} 无效: {why}", "the sidecar {path} is not valid: {why}")
TOO_MUCH = Template("元数据与附属文件合并后无效: {why}", "metadata and sidecar together are not valid: {why}")
WRONG_REQUEST = Template("规则 {rule}: {why}", "rule {rule}: {why}")
WAITS_FOR_DATA = Template("等待模型的外部数据: {paths}", "waits for the model's external data: {paths}")
OUTPUT_BUSY = Template("任务 {task_id} 仍在写入 {path}; 结束后会再次查看",
                       "task {task_id} still writes {path}; the object is looked at again after its end")
FAILED = Bilingual("处理该对象时发生内部错误, 详见日志; 定期扫描会再次处理",
                   "an internal error, which the log tells; the sweep looks at the object again")
