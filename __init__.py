"""agemem-eval: does this memory make my agent better, at what cost, and is the memory any good?"""

__version__ = "0.1.0"
