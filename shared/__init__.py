"""What the functions and the worker share."""
import os

# Before its first model pydantic searches every installed distribution for plugins: 3 ms of each cold start.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
