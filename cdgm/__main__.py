"""``python -m cdgm``: the command line."""

from cdgm.cli.main import main

if __name__ == "__main__":
    main()
