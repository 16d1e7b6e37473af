"""`python -m steadystack` is the command `steadystack`."""

from steadystack.cli import main

if __name__ == "__main__":
    main()
