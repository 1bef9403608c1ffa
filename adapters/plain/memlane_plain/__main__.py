"""`python -m memlane_plain` is the `memlane` command."""

from memlane_plain.cli import main

if __name__ == "__main__":
    main()
