"""`python -m ravine`: the same as the command `ravine`."""

from ravine.cli.main import main

if __name__ == "__main__":
    main()
