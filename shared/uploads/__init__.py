"""Models and other files that clients bring themselves: POST /uploads makes room for them in the object store."""
