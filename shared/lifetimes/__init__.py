"""What belongs to nobody any more goes after its lifetime, if the settings name one: uploads that no task names, and
tasks that have ended. Nothing goes that a task names.
"""
