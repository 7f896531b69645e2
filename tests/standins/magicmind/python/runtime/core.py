"""Stand-in: statuses, types, the device; and what the environment lets go wrong."""
import os
import time
from enum import Enum

ACTIVE = []  # the ids of the devices that are active


def has(what):
    """Whether STANDIN_MAGICMIND has this in it: no-file, no-model, empty-file, unreadable, no-samples, old-release,
    out-of-memory, abort, wrong-weights, lost-output, stays-dynamic, dead-device. `slow=SECONDS` is how long a build
    takes."""
    return what in os.environ.get("STANDIN_MAGICMIND", "").split(",")


def build_seconds():
    parts = os.environ.get("STANDIN_MAGICMIND", "").split(",")
    return next((float(part[len("slow="):]) for part in parts if part.startswith("slow=")), 0.0)


def log_error(where, message):
    """A line as MagicMind's logger writes it, past Python's own streams."""
    stamp = time.strftime("%Y-%m-%d %H:%M:%S.123456")
    os.write(2, f"{stamp}: ERROR:  magicmind/{where}]  {message}\n".encode())


def say(line):
    os.write(2, (line + "\n").encode())


class Code(Enum):
    OK = 0
    OUT_OF_RANGE = 11
    INTERNAL = 13
    UNAVAILABLE = 14


class DataType(Enum):
    INT8, INT16, INT32, UINT8, FLOAT16, FLOAT32, BOOL = range(7)


class ModelKind(Enum):
    kOnnx, kCaffe, kPytorch, kTensorflow = range(4)


class Status:
    def __init__(self, code=Code.OK, message=""):
        self._code, self._message = code, message

    def ok(self):
        return self._code is Code.OK

    def error_message(self):
        return self._message

    def __str__(self):
        return self._message or "OK"

    @staticmethod
    def OK():
        return Status()


class Dims:
    def __init__(self, dims):
        if not all(type(dim) is int for dim in dims):
            raise TypeError(f"incompatible constructor arguments: {dims!r}")
        self._dims = list(dims)

    def GetDims(self):
        return list(self._dims)

    def GetDimValue(self, index):
        return self._dims[index]


class System:
    def __enter__(self):
        return self

    def __exit__(self, *_):
        ACTIVE.clear()

    def device_count(self):
        return int(os.environ.get("STANDIN_MLU_DEVICES", "0"))


class Device:
    id = 0

    def active(self):
        if has("dead-device") or self.id >= int(os.environ.get("STANDIN_MLU_DEVICES", "0")):
            return Status(Code.INTERNAL, "Internal: cnrtSetDevice failed")
        ACTIVE.append(self.id)
        return Status.OK()

    def create_queue(self):
        return Queue() if self.id in ACTIVE else None


class Queue:
    def sync(self):
        return Status.OK()
