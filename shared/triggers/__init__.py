"""Conversions that uploads start: rules, what an object asks for, and the sweep. Nothing here knows HTTP or a queue."""
