"""`python -m pipeline.cli` is `steadystack`."""

from pipeline.cli.commands import main

if __name__ == "__main__":
    main()
