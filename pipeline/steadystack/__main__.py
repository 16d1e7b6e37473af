"""The command `steadystack`, which is `python -m steadystack`, too."""


def main() -> None:
    """Run the command."""
    # Worker processes import this module as well, and need none of the commands.
    from steadystack.cli import main as run_command

    run_command()


if __name__ == "__main__":
    main()
