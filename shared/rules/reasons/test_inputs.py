"""What is said of a client's own test inputs: the words for a calibration set, with another name in them."""
from shared.rules.refusal import Reason

INVALID = Reason("test_inputs_invalid", "{said}", "{said}", "{advice}", "{advice}")
