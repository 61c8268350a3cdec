"""`python -m agemem_eval` is `agemem-eval`."""

from .harness.cli import main

if __name__ == "__main__":
    main()
