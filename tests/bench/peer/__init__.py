"""The other side of rows a and b: the same service as its users write it with FastAPI, pymongo and Celery.

`api` creates tasks and tells their status, `jobs` is Celery's side, `documents` what both know of the store. They
import nothing of ours, and their packages are the group `bench` of pyproject.toml.
"""
