"""Why an upload cannot be converted."""
from shared.rules.error_codes import check_code


class Refusal(Exception):
    """The conversion cannot go on, for a reason that the user should read.

    `code` is one of `shared.rules.error_codes` (`unsupported_operator`), `message` says what is wrong with what, `hint`
    what to change. `vendor_code` is the tool's own code, if it has one.
    """

    def __init__(self, code, message, hint="", vendor_code=None):
        super().__init__(message)
        self.code = check_code(code)
        self.message = message
        self.hint = hint
        self.vendor_code = vendor_code
