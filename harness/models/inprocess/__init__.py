"""What models in this process have in common, whatever computes them: `hf:` and `numpy:`.

Between messages and tokens (`chat`), the batch and what its slots hold (`batch`), the thread that
decodes (`schedule`), answers limited to a list (`answers`), a model that many episodes ask
(`live`), and what a checkpoint's files are (`files`). Nothing here needs torch or transformers.
"""
