"""The program ``genai-config``, also as ``python -m genai_config``."""

from __future__ import annotations

import sys


def main() -> None:
    """Runs the command line, or says in one sentence what has to be installed for it."""
    try:
        from genai_config._cli.app import app

        app(prog_name="genai-config")
    except KeyboardInterrupt:
        sys.exit(130)  # Ctrl-C before a command has begun; 128 + SIGINT, as a shell has it
    except ImportError as error:
        if error.name is None or error.name.partition(".")[0] == "genai_config":
            raise  # a mistake of this library: no installation would mend it
        sys.stderr.write(
            f"genai-config needs {error.name}, which cannot be imported: "
            "pip install 'genai-config[all]'\n"
        )
        sys.exit(2)


if __name__ == "__main__":
    main()
