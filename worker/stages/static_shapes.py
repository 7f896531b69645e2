"""Which shape each input gets, as a stage tells it; the rules are the pre-flight's too."""
import shared.static_shapes as rules
from worker.stage_api import StageError


def choose_shapes(inputs, wanted, auto):
    """`({input: dimensions}, warnings)`: see `shared.static_shapes`.

    Raises:
        StageError: `dynamic_shape`, `input_shape_mismatch`.
    """
    try:
        return rules.choose_shapes(inputs, wanted, auto)
    except rules.ShapeProblem as problem:
        raise StageError(problem.code, problem.message, problem.hint) from problem
