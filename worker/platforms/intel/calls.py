"""A call of a library, described once: made here, and told to the user as one would type it. Standard library only."""


class Name:
    """What a dotted name stands for (`nncf.TargetDevice.NPU`)."""

    def __init__(self, path):
        self.path = path

    def __str__(self):
        return self.path

    def make(self, known):
        """Its value; `known` are the values of first names."""
        first, *rest = self.path.split(".")
        value = known[first]
        for name in rest:
            value = getattr(value, name)
        return value


class Call(Name):
    """A call of what a dotted name stands for; arguments may be names and calls themselves."""

    def __init__(self, path, *positional, **named):
        super().__init__(path)
        self.positional, self.named = positional, named

    def __str__(self):
        said = [_tell(value) for value in self.positional]
        said += [f"{name}={_tell(value)}" for name, value in self.named.items()]
        return f"{self.path}({', '.join(said)})"

    def make(self, known):
        """What the call answers."""
        function = super().make(known)
        return function(*[_make(value, known) for value in self.positional],
                        **{name: _make(value, known) for name, value in self.named.items()})


def _tell(value):
    return str(value) if isinstance(value, Name) else repr(value)


def _make(value, known):
    return value.make(known) if isinstance(value, Name) else value
