"""A vendor's error text, made fit for a client. Standard library only."""
import re

from shared.rules.bilingual import as_it_is, without_addresses
from shared.rules.refusal import Unusable
from worker.stage_api import is_out_of_memory


def raise_if_out_of_memory(error):
    """A vendor library wraps a failed allocation in an error of its own; it is no verdict on the model.

    Raises:
        MemoryError: it is one.
    """
    if is_out_of_memory(error):
        raise MemoryError(str(error)[:600]) from error


def tidy(error, job, limit=600):
    """The text of an exception without this machine's folders, addresses in memory and locations in sources, at most
    `limit` characters."""
    text = without_addresses(str(error))
    folders = [job["output_dir"]] + [entry["dir"] for entry in job["inputs"].values()]
    for folder in sorted(map(str, folders), key=len, reverse=True):
        text = text.replace(folder + "/", "").replace(folder, "")
    text = re.sub(r"/\S+/(?=[^/\s]+\.(?:cc|cpp|h|hpp)\b)", "", text)
    text = "\n".join(line.strip() for line in text.splitlines() if line.strip())
    return text if len(text) <= limit else text[:limit] + " …"


def said_by(error, job):
    """What an exception says, as a parameter of a reason: ours in both languages, another's words as they are."""
    return error.text if isinstance(error, Unusable) else as_it_is(tidy(error, job))
