"""Where a task's results lie: the one place that knows how the names of published objects are made.

`output_path` is a stem and the artefact's suffix: `results/det.xml` is the stem `results/det`. The artefact's other
files have the same stem and suffixes of their own. The manifest and the reports are named after the whole of
`output_path`, as in `results/det.xml.manifest.json`: what two targets make of one stem does not meet. Without an
`output_path` in the request the task gets a folder of its own, named after its id.
"""
from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath

from shared.documents import DEFAULT_TENANT, TASK_ID, Task, TaskResult
from shared.files.paths import MAX_PART_BYTES
from shared.platforms import get_platforms
from shared.platforms.base import Platform, get_parameter, object_parameters
from shared.settings import Settings

MANIFEST, REPORT, REPORT_PAGE = ".manifest.json", ".report.json", ".report.html"
BESIDE = (MANIFEST, REPORT, REPORT_PAGE)


def default_output(task_id: str, input_path: str, platform: Platform, settings: Settings,
                   tenant: str = DEFAULT_TENANT) -> str:
    """The artefact's path in the task's own folder in the results' bucket. A name is cut where the longest suffix would
    make it longer than a file's name may be."""
    room = MAX_PART_BYTES - max(len(suffix) for suffix in suffixes_of(platform))
    stem = PurePosixPath(input_path).stem.encode()[:room].decode(errors="ignore")
    return f"{default_folder(task_id, settings, tenant)}{stem}{platform.artefact_suffix}"


def default_folder(task_id: str, settings: Settings, tenant: str = DEFAULT_TENANT) -> str:
    """Where the results of a task lie whose request names no `output_path`."""
    if tenant == DEFAULT_TENANT:
        return f"{settings.results_bucket}/{task_id}/"
    from shared.access.places import folder_of_tenant  # most services have no tenants, and a cold start counts

    return f"{settings.results_bucket}/{folder_of_tenant(tenant)}{task_id}/"


def suffixes_of(platform: Platform) -> tuple[str, ...]:
    """Of every object that a task of this target publishes, after the stem; the artefact's own comes first."""
    return (platform.artefact_suffix, *platform.also, *(platform.artefact_suffix + suffix for suffix in BESIDE))


def own_folder(task: Task) -> str | None:
    """`bucket/…/<task id>/` where the results lie in a folder that is named after the task, else None.

    Nobody but the task's own claims writes into such a folder, so that it can be deleted with the task. A client's own
    `output_path` is kept. The folder may hold artefacts although the task has no result: those of a worker that was
    killed between publishing and completing.
    """
    folder = PurePosixPath(task.output_path).parent
    return f"{folder}/" if folder.name == task.id else None


def output_stem(task: Task) -> str:
    """The full path of the task's artefact up to its suffixes."""
    return task.output_path.removesuffix(get_platforms()[task.platform].artefact_suffix)


def artefact_suffixes(task: Task) -> tuple[str, ...]:
    """The suffixes of the artefact's files; the one at `output_path` comes first."""
    platform = get_platforms()[task.platform]
    return (platform.artefact_suffix, *platform.also)


def artefact_paths(task: Task) -> list[str]:
    """Where the artefact's files go; `output_path` comes first."""
    return [output_stem(task) + suffix for suffix in artefact_suffixes(task)]


def paths_beside(task: Task) -> dict[str, str]:
    """`{suffix: path}` of the manifest and the reports."""
    return {suffix: task.output_path + suffix for suffix in BESIDE}


def has_older_names(result: TaskResult, task: Task) -> bool:
    """Whether a version has published the task's result that named the manifest after the stem alone, and marked none
    of the objects that it wrote."""
    return result.manifest_path != task.output_path + MANIFEST


def written_paths(task: Task) -> list[str]:
    """Everything that the task may publish; `output_path` comes first."""
    return [*artefact_paths(task), *paths_beside(task).values()]


def outputs_that_write(paths: Iterable[str]) -> set[str]:
    """The `output_path` of every task, of whichever target, that would publish one of these objects."""
    return {path.removesuffix(suffix) + platform.artefact_suffix
            for platform in get_platforms().values() for suffix in suffixes_of(platform)
            for path in paths if path.endswith(suffix)}


def overwritten_input(task: Task, companions: Iterable[str] = ()) -> str | None:
    """An input of the task in whose place, or below which, a result would be written; None where there is none.

    Inputs are the model, its `companions` where they are known, and what the parameters name.
    """
    named = [str(path) for name in object_parameters(get_platforms()[task.platform])
             if (path := get_parameter(task.parameters, name))]
    for path in written_paths(task):
        for taken in (task.input_path, *companions, *named):
            if path == taken or path.startswith(f"{taken}/"):
                return taken
    return None


def foreign_folder(task: Task) -> str | None:
    """The folder in `output_path` that is named like a task but is not this one's own: another task's results are in
    it, and go with it."""
    folders = PurePosixPath(task.output_path).parts[:-1]
    return next((name for name in folders if TASK_ID.fullmatch(name) and name != task.id), None)


def published_names(task: Task, files: Iterable[str]) -> dict[str, str]:
    """`{path: the stage's file}`. A file belongs to the longest suffix that it ends in; an artefact need not have a
    file for every suffix, and files without a known suffix are not published."""
    by_suffix = {}
    for name in files:
        if suffixes := [suffix for suffix in artefact_suffixes(task) if name.endswith(suffix)]:
            by_suffix[max(suffixes, key=len)] = name
    return {output_stem(task) + suffix: by_suffix[suffix] for suffix in artefact_suffixes(task) if suffix in by_suffix}
