"""``python -m bench.environments NAME...`` builds environments; without a name it lists them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

from bench.environments import FOLDER, PINS, built, names


def build(name: str) -> None:
    """Makes the environment anew from its pins, in a folder of its own."""
    folder = FOLDER / name
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    # The project's own constraints, which make exports, are for its own environment. Bytecode is
    # compiled now, or every cell would spend three times as long on its imports.
    env = {
        k: v for k, v in os.environ.items() if k not in ("PIP_CONSTRAINT", "PIP_BUILD_CONSTRAINT")
    }
    subprocess.run(
        [
            str(folder / "bin" / "python"),
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-input",
            "--no-deps",
            "--compile",
            "--disable-pip-version-check",
            "-r",
            str(PINS / f"{name}.txt"),
        ],
        env=env,
        check=True,
    )
    (folder / "complete").touch()


def main(arguments: list[str]) -> int:
    """Builds what is named; 2 when a name is unknown, 1 when pip or venv fail."""
    if {"-h", "--help"} & set(arguments):
        print(__doc__)
        return 0
    if unknown := [name for name in arguments if name not in names()]:
        print(
            f"error: environment: expected one of {', '.join(names())}, got {unknown[0]}.",
            file=sys.stderr,
        )
        return 2
    for name in arguments:
        print(f"building {name} ...", flush=True)
        try:
            build(name)
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"error: {name} could not be built: {error}", file=sys.stderr)
            return 1
    for name in arguments or names():
        print(f"{name}: {'built' if built(name) else 'not built'}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
