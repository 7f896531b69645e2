"""Facts from the toolkit's log: operators that it dropped, placement, memory, errors. Standard library only.

Verbose log of rknn-toolkit2 2.5.0: Python lines begin with `I `, `W `, `E ` or `D ` (in colours), the compiler's with
`D RKNN: [11:35:26.288] `.
"""
import re

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_CLOCK = re.compile(r"RKNN: \[[0-9:.]+\] *")
_NO_LOWERING = re.compile(r"No lowering found for: (.*), node type = (\S+), use CustomOperatorLower")
_FATAL_OPERATOR = re.compile(r"Meet unsupported operator: *([A-Za-z]\w*)(?:\(name=\"([^\"]*)\"\))?")
_CUSTOM_OPERATOR = re.compile(r"Meet RKNN unsupport Operator: name = '([^']*)', type = (\w+)")
_NEEDS_CONSTANT = re.compile(r"The input \d+ of (\w+)\('([^']*)'\) need to be constant! It will cause")
_NO_TENSOR = re.compile(r"The (?:input|output) name (.+) is not exists")
_DISABLE = re.compile(r"You can add disable_rules=\[([^\]]*)\]")
_RULE = re.compile(r"'([A-Za-z0-9_]+)'")
_TABLE = "Network Layer Information Table"
_ROW = re.compile(r"D (\d+) +(\S+) +\S+ +(NPU|CPU|GPU) .*?(\S+) *$")
_EDGES = {"InputOperator": "inputs", "OutputOperator": "outputs"}  # they convert layouts
_TYPED_ROW = re.compile(r"D \d+ +(\S+) +(\S+) +(?:NPU|CPU|GPU) ")
_CONSTANTS = "Const Tensor Information Table"
_CONSTANT_ROW = re.compile(r"D \d+ +\S+ .*?([A-Z]+\d+) +\([0-9,]*\) +\|")
# What the compiler says of a piece that the artefact then lacks, while it reports success. The simulator computes from
# the graph, and does not notice.
_FAILED = re.compile(r"^[EW] (.*\bfailed\b.*|.* is unsupport in current.*)")
_MEMORY = re.compile(r"Total (Internal|Weight) Memory Size: ([0-9.]+)KB")
# Said of every model, or of what we asked for.
_NOISE = re.compile(r"rknn-toolkit2 version|Traceback|={5}|Unkown op target|temperate env|(mean|std)_values|"
                    r"need parameter qtype|Unknow dtype to get bits|mapping of layer_name|only support mini rknn model|"
                    r"will consume a lot of memory|data_format|initializer tensor data is empty")
_CRASH = re.compile(r"^(free\(\)|malloc|corrupted|double free|munmap_chunk|terminate called| *what\(\)|Fatal|.*Assert)")
_MAX_LINES = 20
_MAX_CHARS = 300


class ToolLog:
    """The whole log, cleaned of colours and times of day."""

    def __init__(self, text):
        lines = re.split(r"[\r\n]+", _COLOUR.sub("", text))
        self.lines = [_CLOCK.sub("", line).rstrip() for line in lines]
        self._compilers = [_CLOCK.sub("", line).rstrip() for line in lines if _CLOCK.search(line)]

    @classmethod
    def read(cls, path, begin=0):
        """From the byte `begin` on."""
        with open(path, "rb") as file:
            file.seek(begin)
            return cls(file.read().decode("utf-8", "replace"))

    def unsupported(self):
        """`[{"name", "type"}]` of operators that the artefact lacks, although the toolkit may have returned success."""
        found = []
        for line in self.lines:
            for pattern, name, kind in ((_NO_LOWERING, 1, 2), (_FATAL_OPERATOR, 2, 1), (_CUSTOM_OPERATOR, 1, 2),
                                        (_NEEDS_CONSTANT, 2, 1)):
                match = pattern.search(line)
                if match:
                    found.append({"name": match.group(name) or "", "type": match.group(kind)})
        return _unique(found)

    def rules_to_disable(self):
        """The rules of its optimiser in which it says that it failed."""
        return _unique(rule for line in self.lines for match in [_DISABLE.search(line)] if match
                       for rule in _RULE.findall(match.group(1)))

    def missing_tensors(self):
        """The names that it did not find in the graph."""
        found = [match.group(1) for line in self.lines for match in [_NO_TENSOR.search(line)] if match]
        return _unique(name.partition(".")[0] if name.endswith(".") else name for name in found)

    def placement(self):
        """`(placement, on_cpu)` as the report shows them: layers of the last table, after the toolkit's fusing."""
        rows = []
        for line in self.lines:
            if _TABLE in line:
                rows = []
            match = _ROW.match(line)
            if match and match.group(2) not in _EDGES:
                rows.append((match.group(2), match.group(3).lower(), match.group(4).partition(":")[2]))
        placement = {"npu": {}, "cpu": {}}
        for kind, target, _ in rows:
            counts = placement.setdefault(target, {})
            counts[kind] = counts.get(kind, 0) + 1
        return placement, [{"name": name, "type": kind} for kind, target, name in rows if target == "cpu"]

    def edges(self):
        """`{"inputs": [dtype, …], "outputs": […]}` in the artefact's order, as the last table has them: `int64`."""
        found = {"inputs": [], "outputs": []}
        for kind, dtype in self._typed_rows():
            if kind in _EDGES:
                found[_EDGES[kind]].append(dtype)
        return found

    def data_types(self):
        """`{dtype: count}` of the layers, in what they compute."""
        counts = {}
        for kind, dtype in self._typed_rows():
            if kind not in _EDGES:
                counts[dtype] = counts.get(dtype, 0) + 1
        return dict(sorted(counts.items()))

    def stored_types(self):
        """The types of the constants, weights among them."""
        at = max((number for number, line in enumerate(self.lines) if _CONSTANTS in line), default=len(self.lines))
        return sorted({match.group(1).lower() for line in self.lines[at:]
                       for match in [_CONSTANT_ROW.match(line)] if match})

    def failures(self):
        """The lines in which it says that a piece of the artefact failed."""
        return _unique(match.group(1)[:_MAX_CHARS] for line in self.lines for match in [_FAILED.match(line)] if match)

    def _typed_rows(self):
        """`(kind, dtype)` of each row of the last table."""
        rows = []
        for line in self.lines:
            if _TABLE in line:
                rows = []
            match = _TYPED_ROW.match(line)
            if match:
                rows.append((match.group(1), match.group(2).lower()))
        return rows

    def memory(self):
        """`{"internal", "weight"}` in bytes, as far as told."""
        found = {}
        for line in self.lines:
            match = _MEMORY.search(line)
            if match:
                found[match.group(1).lower()] = round(float(match.group(2)) * 1024)
        return found

    def errors(self):
        """What the toolkit called errors, without its tracebacks."""
        return self._told(("E ",))

    def warnings(self):
        """What it called warnings and errors, though it went on."""
        return self._told(("W ", "E "))

    def last_warning(self):
        """What the compiler warned of last; "" without."""
        lines = [line for line in self._compilers if line.startswith(("W ", "E ")) and not _NOISE.search(line)]
        return lines[-1][2:].strip()[:_MAX_CHARS] if lines else ""

    def last_words(self):
        """What the C and C++ libraries write at a crash; "" without."""
        lines = [line for line in self.lines if _CRASH.search(line)]
        return lines[-1][:_MAX_CHARS] if lines else ""

    def _told(self, levels):
        found = [line[2:].strip()[:_MAX_CHARS] for line in self.lines
                 if line.startswith(levels) and not _NOISE.search(line)]
        return _unique(found)[:_MAX_LINES]


def _unique(entries):
    entries = list(entries)
    return [entry for number, entry in enumerate(entries) if entry not in entries[:number]]
