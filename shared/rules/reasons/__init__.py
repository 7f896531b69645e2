"""The catalogue of what is said of uploads, for the stages and for the pre-flight: one wording in each language."""
