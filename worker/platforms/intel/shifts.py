"""BitShift as a multiplication or a division by a power of two out of a table, right for every shift.

OpenVINO computes the power itself, and so what is shifted by more than the width is a product that has overflowed, and
a negative number is rounded to zero (2026.4.1). Its CPU plugin divides whole numbers as float32, with 24 bits: what it
divides here has no more, or is mended by what is left over. It has no whole numbers of more than 32 bits.
"""
from worker.stages.graph import Instead

# ONNX's element types: the width, and whether there is a sign.
_TYPES = {2: (8, False), 3: (8, True), 4: (16, False), 5: (16, True), 6: (32, True), 7: (64, True), 12: (32, False),
          13: (64, False)}
_EXACT_WIDTH = 16  # all of it fits into float32


def spell_out_shift(graph, node, known):
    """Whether it was spelled out."""
    from onnx import TensorProto
    from onnx.helper import tensor_dtype_to_np_dtype

    kind = known.type(node.input[0])
    if kind not in _TYPES:
        return False
    width, is_signed = _TYPES[kind]
    small = width <= _EXACT_WIDTH
    own = TensorProto.INT32 if small else kind
    shift = _Shift(graph, node, width, is_signed, tensor_dtype_to_np_dtype(own))
    value, by = node.input
    if small:
        value, by = (shift.instead.add("Cast", [name], what, to=own) for name, what in ((value, "value"), (by, "by")))
    is_left = next(attribute.s for attribute in node.attribute if attribute.name == "direction") == b"LEFT"
    shifted = (shift.left if is_left else shift.right)(value, by)
    shift.instead.end("Cast", [shifted], to=kind)
    return True


class _Shift:
    """The nodes in place of one BitShift of whole numbers of the type `dtype`."""

    def __init__(self, graph, node, width, is_signed, dtype):
        self.instead = Instead(graph, node)
        self._width, self._is_signed, self._dtype = width, is_signed, dtype

    def left(self, value, by):
        within = self._within(by, self._width)
        index = self._index(within, by)
        if self._width > _EXACT_WIDTH:
            shifted = self._add("Mul", [value, self._power(index, self._width)], "product")
        else:
            kept = self._add("Gather", [self._table([self._width - n for n in range(self._width)], "rests"), index],
                             "rest")
            low = self._add("Mod", [value, kept], "low")
            shifted = self._add("Mul", [low, self._power(index, self._width)], "product")
            if self._is_signed:
                is_least = self._add("Less", [shifted, self._number(1 << self._width - 1)], "is_positive")
                wrapped = self._add("Sub", [shifted, self._number(1 << self._width)], "wrapped")
                shifted = self._add("Where", [is_least, shifted, wrapped], "as_signed")
        return self._kept_where(within, shifted, "shifted")

    def right(self, value, by):
        """Of a negative number it is that of what is left when all bits are turned, turned back."""
        bits = self._width - self._is_signed
        within = self._within(by, bits)
        power = self._power(self._index(within, by), bits)
        if self._is_signed:
            is_negative = self._add("Less", [value, self._number(0)], "is_negative")
            value = self._add("Where", [is_negative, self._turned(value), value], "magnitude")
        quotient = self._divided(value, power)
        shifted = self._kept_where(within, quotient, "shifted")
        if self._is_signed:
            shifted = self._add("Where", [is_negative, self._turned(shifted), shifted], "with_sign")
        return shifted

    def _divided(self, value, power):
        """Mended by the quotient of what is left over, which may be less than nothing."""
        quotient = self._add("Div", [value, power], "quotient")
        if self._width <= _EXACT_WIDTH or not self._is_signed:
            return quotient
        left = self._add("Sub", [value, self._add("Mul", [quotient, power], "covered")], "left_over")
        is_over = self._add("Less", [left, self._number(0)], "is_over")
        turned = self._add("Where", [is_over, self._turned(left), left], "left_turned")
        more = self._add("Div", [turned, power], "more")
        more = self._add("Where", [is_over, self._turned(more), more], "more_with_sign")
        return self._add("Add", [quotient, more], "mended")

    def _within(self, by, bits):
        """Whether a shift is one by 0 up to `bits` - 1."""
        within = self._add("Less", [by, self._number(bits)], "is_less")
        if not self._is_signed:
            return within
        is_below = self._add("Less", [by, self._number(0)], "is_below")
        return self._add("And", [within, self._add("Not", [is_below], "is_not_below")], "is_within")

    def _index(self, within, by):
        from onnx import TensorProto

        return self._add("Cast", [self._kept_where(within, by, "by_within")], "index", to=TensorProto.INT64)

    def _kept_where(self, within, value, what):
        """Or zero: ONNX Runtime has a Where of few types only."""
        from onnx.helper import np_dtype_to_tensor_dtype

        one = self._add("Cast", [within], f"{what}_at_all", to=np_dtype_to_tensor_dtype(self._dtype))
        return self._add("Mul", [value, one], what)

    def _power(self, index, bits):
        return self._add("Gather", [self._table(range(bits), "powers"), index], "power")

    def _table(self, exponents, what):
        import numpy as np

        return self.instead.constant(what, np.array([1 << n for n in exponents], np.uint64).astype(self._dtype))

    def _turned(self, value):
        return self._add("Sub", [self._number(-1), value], "turned")

    def _number(self, value):
        import numpy as np

        return self.instead.constant("number", np.asarray(value).astype(self._dtype))

    def _add(self, operator, inputs, what, **attributes):
        return self.instead.add(operator, inputs, what, **attributes)
