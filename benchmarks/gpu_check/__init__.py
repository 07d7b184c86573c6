"""The first hour on a GPU: everything that a machine without one cannot measure, as one resumable command.

`networks` runs each architecture against its recorded results in four precisions and through a training step; `stages`
lists the commands whose numbers a GPU alone gives; `run` runs them one after the other, and `report` makes one document
of what they found.
"""
