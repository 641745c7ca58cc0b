"""Hydra composes a training run's config: once it is loaded, and as a program from its start to the printed YAML."""
import subprocess
import sys

from common import arguments, report, timed

SELF = [sys.executable, *sys.argv]
args = arguments(config_dir="", overrides="", once=["no", "yes"])


def composed() -> str:
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    with initialize_config_dir(args.config_dir, version_base="1.3"):
        return OmegaConf.to_yaml(compose("config", overrides=args.overrides.split(" ")))


if args.once == "yes":
    print(composed())
    sys.exit()
command = [*SELF, "--once", "yes"]
series = {
    "compose": timed(composed, args),
    "command": timed(lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL), args),
}
report(series, ["hydra-core", "omegaconf"], lines=composed().count("\n"))
