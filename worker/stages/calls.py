"""A vendor's calls, each built once: the same object is made here and told as an expert would type it.

    OV, MODEL = Name("openvino"), Name("model")
    script = Script("import openvino", openvino=openvino)
    script.let("model", OV.convert_model(File("/stages/17/model.onnx")))
    script.do(OV.save_model(MODEL, File("/stages/18/model.xml"), compress_to_fp16=True))

makes the two calls, and `script.commands` is then

    import openvino
    model = openvino.convert_model('model.onnx')
    openvino.save_model(model, 'model.xml', compress_to_fp16=True)

Standard library only, Python 3.8+.
"""
import os


class Expression:
    """Python that has not run yet. Its attributes and its calls are expressions too, and `str` gives its text.

    Names that do not begin with an underscore belong to the vendor's object: `Name("model").make` is a vendor's `make`.
    """

    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)
        return _Attribute(self, name)

    def __call__(self, *positional, **named):
        return _Call(self, positional, named)


class Name(Expression):
    """A name that the script knows: a module, or the value of an earlier line."""

    def __init__(self, name):
        self._name = name

    def __str__(self):
        return self._name

    def _make(self, known):
        return known[self._name]


class Shown(Expression):
    """A value that exists on this machine only, with the text that stands for it elsewhere.

    Its text is written by hand. So it stands for values, never for a call.
    """

    def __init__(self, value, text):
        self._value, self._text = value, text

    def __str__(self):
        return self._text

    def _make(self, known):
        return self._value


class File(Shown):
    """A path. The text has the file's name alone: whoever types the calls has the files in the working directory."""

    def __init__(self, path):
        super().__init__(path, repr(os.path.basename(path)))


class _Attribute(Expression):
    def __init__(self, owner, name):
        self._owner, self._name = owner, name

    def __str__(self):
        return f"{self._owner}.{self._name}"

    def _make(self, known):
        return getattr(self._owner._make(known), self._name)


class _Call(Expression):
    """Arguments are plain values, expressions, or lists and dictionaries of both."""

    def __init__(self, function, positional, named):
        self._function, self._positional, self._named = function, positional, named

    def __str__(self):
        told = [*map(_tell, self._positional), *(f"{name}={_tell(value)}" for name, value in self._named.items())]
        return f"{self._function}({', '.join(told)})"

    def _make(self, known):
        return self._function._make(known)(*[_make(value, known) for value in self._positional],
                                           **{name: _make(value, known) for name, value in self._named.items()})


class Script:
    """Calls in their order: each is told in `commands`, then made. `known` holds the values of the names so far."""

    def __init__(self, *first_lines, **known):
        """`first_lines` are the imports that somebody would type to have what is `known`."""
        self.commands = list(first_lines)
        self.known = known

    def let(self, name, expression):
        """`name = expression`: later lines may use the name. The value."""
        self.commands.append(f"{name} = {_tell(expression)}")
        self.known[name] = _make(expression, self.known)
        return self.known[name]

    def do(self, expression):
        """A line of its own. The value."""
        self.commands.append(_tell(expression))
        return _make(expression, self.known)


def _tell(value):
    if isinstance(value, Expression):
        return str(value)
    if type(value) is list:
        return "[" + ", ".join(map(_tell, value)) + "]"
    if type(value) is dict:
        return "{" + ", ".join(f"{_tell(key)}: {_tell(item)}" for key, item in value.items()) + "}"
    return repr(value)


def _make(value, known):
    if isinstance(value, Expression):
        return value._make(known)
    if type(value) is list:
        return [_make(item, known) for item in value]
    if type(value) is dict:
        return {key: _make(item, known) for key, item in value.items()}
    return value
