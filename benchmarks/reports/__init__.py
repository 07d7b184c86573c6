"""Reports: pure functions of records and manifests.

`measured`, `comparison` make `Table`s, plain data without a format; `markdown` (and its siblings) write them down.
"""
