"""Reading an ONNX file's outline: everything but the contents of its tensors, without a parse of the whole.

Parsing costs up to a hundred times the bytes of a file made for it (an empty node is two bytes in the file), and the
functions have no onnx package. `walk` visits the outline; `facts` (the preflight) and `locations` (the stage fetch)
are the two that look. Field numbers are those of onnx.proto3.
"""
