"""What others hear of a task: its ends at its `callback_url`, and every event at the broker."""
