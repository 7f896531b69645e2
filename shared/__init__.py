"""What the functions and the worker share."""
import os

VERSION = "0.1.0"  # of the whole project; pyproject.toml reads it here

# Before its first model pydantic searches every installed distribution for plugins: 3 ms of each cold start.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
