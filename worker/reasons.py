"""The catalogue of what the worker itself says of a stage. Standard library only: the toolhost says some of it too."""
from shared.rules.bilingual import Bilingual, Template
from shared.rules.refusal import Reason

# --- what is converted
UPLOAD_REPLACED = Reason(
    "input_replaced", "{path} 在转换开始前已被替换: 任务针对的版本为 {taken}, 现为 {now}",
    "{path} was replaced before its conversion began: the task is of version {taken}, and {now} lies there",
    "新版本有自己的任务; 如需转换旧版本, 请重新上传",
    "the new version has a task of its own; to convert the old one, upload it again")

# --- limits
RAN_TOO_LONG = Reason("timeout", "阶段运行超过 {seconds} 秒", "the stage ran longer than {seconds} s",
                      "提高 limits.stage_time_s, 或发送更小的模型",
                      "raise limits.stage_time_s, or send a smaller model")
NO_CPU_TIME_LEFT = Reason("timeout", "阶段已用完 CPU 时间", "the stage used up its CPU time",
                          "提高 limits.stage_time_s", "raise limits.stage_time_s")
_LESS_MEMORY = ("提高 limits.stage_memory_bytes, 或发送更小的模型或形状",
                "raise limits.stage_memory_bytes, or send a smaller model or shape")
USED_TOO_MUCH_MEMORY = Reason("out_of_memory", "阶段使用的内存超过 {mib} MiB", "the stage used more than {mib} MiB",
                              *_LESS_MEMORY)
NO_MEMORY_LEFT = Reason("out_of_memory", "阶段需要的内存超出其上限", "the stage needed more memory than its limit",
                        *_LESS_MEMORY)
WROTE_TOO_MUCH = Reason("disk_full", "阶段写入超过 {mib} MiB", "the stage wrote more than {mib} MiB")
FILE_TOO_LARGE = Reason("disk_full", "阶段写入的文件超出上限", "the stage wrote a file above its limit")
DISK_FULL = Reason("disk_full", "worker 的磁盘已满", "the worker's disk is full", "清理磁盘后重试",
                   "make room there, then retry")

# --- the stage's end
_KILLED = ("阶段被外部终止", "the stage was killed from outside",
           "多为机器内存不足: 增加内存, 或减少并发",
           "most often the machine ran out of memory: give it more, or fewer slots")
KILLED = Reason("killed", *_KILLED)
KILLED_FOR_MEMORY = Reason("out_of_memory", *_KILLED)
CRASHED = Reason("stage_crashed", "工具因信号 {signal} 崩溃", "the tool crashed with {signal}",
                 "日志中有最后一步; 崩溃是工具自身的错误",
                 "the log shows the last step; a crash is the tool's own fault")
ENDED_WITHOUT_RESULT = Reason("stage_crashed", "工具以退出码 {code} 结束, 没有留下结果",
                              "the tool ended with code {code} and without a result")
RAISED = Reason("stage_crashed", "{kind}: {said}", "{kind}: {said}")
UNREADABLE_RESULT = Reason("stage_crashed", "阶段没有留下可读的结果: {said}",
                           "the stage left no readable result: {said}")

# --- the toolchain, and the rest
CANNOT_START = Reason("toolchain_broken", "工具链 {name} 无法启动: {said}",
                      "the toolchain {name} cannot be started: {said}",
                      "重新安装 (make toolchains)", "install it again (make toolchains)")
DOES_NOT_START = Reason("toolchain_broken", "工具链 {name} 未能启动", "the toolchain {name} does not start",
                        "查看 worker 的日志; 重新安装 (make toolchains)",
                        "see the worker's log; install it again (make toolchains)")
INPUT_UNSTABLE = Reason("input_unstable", "重新开始 {count} 次后放弃: {why}",
                        "gave up after {count} new starts: {why}",
                        "停止写入模型和阶段缓存后重试", "retry when nobody writes to the model or the stage cache")
OUTPUT_CONFLICT = Reason(
    "output_conflict", "任务运行期间 {path} 被其他程序写入", "{path} was written by somebody else while the task ran",
    "为每个任务指定各自的 output_path, 然后重试", "give each task an output_path of its own, then retry")
STORAGE_REFUSED = Reason("storage_refused", "文件存储拒绝 {path}: {why}", "the object store refuses {path}: {why}",
                         "允许 worker 读写该路径, 或换一个 output_path, 然后重试",
                         "let the workers read and write there, or choose another output_path; then retry")
STORAGE_UNAVAILABLE = Reason(
    "storage_unavailable", "文件存储没有应答, 已尝试 {count} 次", "the object store did not answer in {count} tries",
    "文件存储恢复后重试", "retry when the object store answers again")
PATH_TAKEN = Reason("output_conflict", "{said}", "{said}",
                    "换一个 output_path, 然后重新创建任务", "create the task again with another output_path")
PARAMETERS_OF_ANOTHER_VERSION = Reason(
    "version_mismatch", "此版本的 worker 没有参数 {names}", "this version of the worker has no parameter {names}",
    "所有 worker 升级到创建该任务的版本后重试", "retry when all workers are of the version that created the task")
INTERNAL_ERROR = Reason("internal_error", "内部错误: {what}", "internal error: {what}", "详情见 worker 的日志",
                        "the worker's log has the details")

# --- precision auto
TOO_SLOW_TO_TRY = Reason(
    "timeout", "该阶段超过 {seconds} 秒, 即 auto_time_s 剩余时间的一半",
    "the stage took longer than {seconds} s, half of what was left of auto_time_s",
    "提高 auto_time_s, 或直接发送此种转换的参数", "raise auto_time_s, or send the parameters of this conversion alone")
NONE_PASSES = Template("尝试过的转换均未通过 ({tried}); {name}: {why}",
                       "no conversion that was tried passes ({tried}); {name}: {why}")
TIME_WAS_OVER = Template("未尝试: auto_time_s ({seconds} 秒) 已用完", "not tried: auto_time_s ({seconds} s) was over")
NEEDS_A_SET = Bilingual(
    "需要校准集: 有校准集时会先尝试此种转换, 其产物更小更快",
    "needs a calibration set: with one this conversion, whose artefact is smaller and faster, would be tried first")
NO_SET_WAS_SENT = Template("未发送校准集, 因此未尝试更小更快的转换: {names}",
                           "no calibration set was sent, so smaller and faster conversions were not tried: {names}")
NOTHING_COMPARED = Bilingual(
    "此 worker 无法运行产物, 因此未能按精度选择: 取最快的浮点转换",
    "this worker cannot run the artefact, so accuracy could not choose: the fastest conversion in floating point was "
    "taken")

# --- the second conversion, from the model as it was sent
SECOND_FAILS_TOO = Template(
    "{why}; 已不经简化再次转换原始模型 (simplify: false), 同样失败 ({stage}: {code})",
    "{why}; a second conversion, of the model as it was sent (simplify: false), fails too ({stage}: {code})")
TAKEN_AS_SENT = Template(
    "简化后的模型转换失败 ({stage}: {code}), 因此产物由原始模型制成; 发送 simplify: false 可直接如此转换",
    "the simplified model failed ({stage}: {code}), so the artefact was made of the model as it was sent; "
    "simplify: false does that at once")
