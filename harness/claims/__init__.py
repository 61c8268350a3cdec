"""An experiment and what it claims: cells played, episodes kept as data, claims tested from them.

The definition (`experiment`) is a YAML written before anything is played: the tasks, who plays
them, and each claim with its measure, its contrast and its direction. `cells` makes runs of it,
`episodes` a file of them that can be kept, `verdicts` says what became of the claims, `tables`,
`draw` and `write` show it.
"""
