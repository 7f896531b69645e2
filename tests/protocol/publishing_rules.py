"""What a claim may do to published objects, as docs/protocol.md has it, and the mistakes that the model has to notice.

`publishing_model` explores what the rules allow. `test_code_against_model` compares them with `shared.marks`.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Mark(NamedTuple):
    """Who wrote an object: a claim (task and epoch), for a target. Other people's objects have none."""

    task: int
    epoch: int
    target: str


class Writer(NamedTuple):
    """A claim that wants to write, and what its task's request allows."""

    task: int
    epoch: int
    target: str
    overwrite: bool


class PublishingRules:
    """`mark` is that of the object in question."""

    def may_replace(self, mark: Mark | None, me: Writer) -> bool:
        """What lay there before the claim, or before the task."""
        return me.overwrite or (mark is not None and mark.target == me.target)

    def is_unsettled(self, mark: Mark | None, me: Writer, live: bool) -> bool:
        """The object's task, another one, is `live` and may still write more of the set, or take it back."""
        return mark is not None and mark.task != me.task and live

    def is_outdated(self, mark: Mark | None, me: Writer) -> bool:
        """What was written there meanwhile is an earlier claim's of the same task."""
        return mark is not None and mark.task == me.task and mark.epoch < me.epoch

    def may_withdraw(self, mark: Mark | None, me: Writer) -> bool:
        return mark is not None and (mark.task, mark.epoch) == (me.task, me.epoch)

    def may_delete(self, mark: Mark | None, task: int) -> bool:
        """With the task."""
        return mark is not None and mark.task == task

    # --- how they are applied

    first_decides = True  # one object goes before all others, so that of two sets one is written and one is not begun
    conditional = True  # a write lands only over what the claim has seen
    looks_again = True  # a claim looks for itself at what lies there, whatever was found when the task was created
    spares_inputs = True  # a task whose results would replace an input, or lie in another's folder, is refused
    spares_folders = True
    document_first = True  # a task is deleted before its objects are
    spares_live_sets = True  # a task is refused while one of another target will write some of the same names

    def watched(self, names: Sequence[int]) -> Sequence[int]:
        """Those of the names that a task looks at before it writes."""
        return names


class ReplacesForeign(PublishingRules):
    def may_replace(self, mark: Mark | None, me: Writer) -> bool:
        return mark is None or super().may_replace(mark, me)


class ReplacesOtherTargets(PublishingRules):
    def may_replace(self, mark: Mark | None, me: Writer) -> bool:
        return me.overwrite or mark is not None


class ReplacesUnsettled(PublishingRules):
    def is_unsettled(self, mark: Mark | None, me: Writer, live: bool) -> bool:
        return False


class WithdrawsByContent(PublishingRules):
    def may_withdraw(self, mark: Mark | None, me: Writer) -> bool:
        return True


class WithdrawsWithoutEpoch(PublishingRules):
    def may_withdraw(self, mark: Mark | None, me: Writer) -> bool:
        return mark is not None and mark.task == me.task


class DeletesWhateverIsThere(PublishingRules):
    def may_delete(self, mark: Mark | None, task: int) -> bool:
        return True


class NobodyDecides(PublishingRules):
    first_decides = False


class WritesUnconditionally(PublishingRules):
    conditional = False


class LooksOnlyAtCreation(PublishingRules):
    looks_again = False


class ReplacesInputs(PublishingRules):
    spares_inputs = False


class WritesIntoFolders(PublishingRules):
    spares_folders = False


class IgnoresLiveSets(PublishingRules):
    spares_live_sets = False


class DeletesObjectsFirst(PublishingRules):
    document_first = False


class LooksAtThePathOnly(PublishingRules):
    """At the file at `output_path`, the last one, not at what lies beside it."""

    def watched(self, names: Sequence[int]) -> Sequence[int]:
        return names[-1:]


MUTANTS: dict[str, type[PublishingRules]] = {
    "replaces_foreign": ReplacesForeign, "replaces_other_targets": ReplacesOtherTargets,
    "replaces_unsettled": ReplacesUnsettled, "withdraws_by_content": WithdrawsByContent,
    "withdraws_without_epoch": WithdrawsWithoutEpoch, "deletes_whatever_is_there": DeletesWhateverIsThere,
    "nobody_decides": NobodyDecides, "writes_unconditionally": WritesUnconditionally,
    "looks_only_at_creation": LooksOnlyAtCreation, "replaces_inputs": ReplacesInputs,
    "writes_into_folders": WritesIntoFolders, "ignores_live_sets": IgnoresLiveSets,
    "looks_at_the_path_only": LooksAtThePathOnly, "deletes_objects_first": DeletesObjectsFirst}
