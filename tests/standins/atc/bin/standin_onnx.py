"""The little of an ONNX file that atc's parser looks at first: its operators, and the domains' versions."""


def _fields(data):
    """`(number, value)` of a protobuf message's fields; the value is bytes or an integer."""
    position = 0

    def varint():
        nonlocal position
        value = shift = 0
        while True:
            byte = data[position]
            position += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while position < len(data):
        tag = varint()
        kind = tag & 7
        if kind == 0:
            yield tag >> 3, varint()
            continue
        size = {1: 8, 2: None, 5: 4}[kind]
        size = varint() if size is None else size
        if position + size > len(data):
            raise ValueError("cut")
        yield tag >> 3, data[position:position + size]
        position += size


def read_operators(path):
    """`[(name, "domain::version::type")]`.

    Raises:
        ValueError: no ONNX file.
    """
    with open(path, "rb") as file:
        data = file.read()
    try:
        model = list(_fields(data))
        versions = {}
        for number, value in model:
            if number == 8:  # opset_import
                entry = dict(_fields(value))
                versions[entry.get(1, b"").decode()] = entry[2]
        graph = next(value for number, value in model if number == 7)
        operators = []
        for number, value in _fields(graph):
            if number == 1:  # node
                node = [(n, v) for n, v in _fields(value) if n in (3, 4, 7)]
                found = {n: v.decode() for n, v in node}
                domain = found.get(7, "")
                operators.append((found.get(3, ""), f"{domain or 'ai.onnx'}::{versions[domain]}::{found[4]}"))
        return operators
    except (IndexError, KeyError, StopIteration, UnicodeDecodeError) as error:
        raise ValueError("no ONNX model") from error
