"""Suites for your own environment or memory: subclass one in a test module, or `agemem-eval check`.

```python
from agemem_eval.testing import MemoryConformance

class TestMyMemory(MemoryConformance):
    target = "my_package.memory:MyMemory"
```
"""

from .harness.conformance.environments import EnvironmentConformance
from .harness.conformance.memories import MemoryConformance

__all__ = ["EnvironmentConformance", "MemoryConformance"]
