"""Which runner a Beam job gets, and with what options: from YAML files and flags, checked by Beam's own parser.

Beam itself drops an option that it does not know, so that a misspelt one silently does nothing: here it is refused.
"""

import argparse
import difflib
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import yaml
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions, StandardOptions

from hrlrec_tf.errors import ConfigError

# What DirectRunner stood for before it began to try a runner that it would have to download.
LOCAL_RUNNER = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"

_FILES = pathlib.Path(__file__).parent / "runners"
_NEEDED = {"DataflowRunner": ("project", "region", "temp_location")}

# From here on, worker processes are faster than none in spite of their start; each takes some 300 MB.
_PARALLEL_ROWS = 1_000_000
_MAX_WORKERS = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds `--runner-options` and the Beam arguments behind `--`; `beam_args` reads them."""
    parser.add_argument(
        "--runner-options",
        metavar="YAML",
        help=f"Beam's options for a cluster: a file, or one that ships: {', '.join(bundled())}",
    )
    parser.add_argument(
        "beam_args",
        nargs="*",
        metavar="-- BEAM_ARG",
        help="Beam pipeline arguments, above those of --runner-options, for instance: -- --runner=FlinkRunner "
        "--flink_master=HOST:8081",
    )


def beam_args(args: argparse.Namespace) -> list[str]:
    """The Beam arguments that a command line asks for.

    Raises:
      ConfigError: the file cannot be read, an option is unknown or has a wrong value, or one that the runner or the
        file asks for is missing.
    """
    flags, missing = read(args.runner_options) if args.runner_options else ([], [])
    flags += args.beam_args
    known, unknown = _parse(flags)
    if unknown:
        raise ConfigError(_unknown(unknown[0], known))
    _check_runner(known)
    given = {word.split("=")[0] for word in args.beam_args}
    if missing := [name for name in missing if f"--{name}" not in given]:
        raise ConfigError(
            f"{args.runner_options} leaves open: {', '.join(missing)}; state them there, or behind -- as "
            f"--{missing[0]}=VALUE"
        )
    return flags


def bundled() -> list[str]:
    """Names of the option files that the package brings."""
    return sorted(path.stem for path in _FILES.glob("*.yaml"))


def read(name: str) -> tuple[list[str], list[str]]:
    """Beam arguments from a YAML file, or from one that ships, and the options that the file leaves open.

    An option is a name and a value: `true` gives a bare flag, `false` none, a list the flag with each value, and no
    value leaves the option open.

    Raises:
      ConfigError: the file is absent, or no mapping of options to single values and lists.
    """
    path = _FILES / f"{name}.yaml" if name in bundled() and not os.path.exists(name) else pathlib.Path(name)
    try:
        options = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(
            f"{name}: cannot be read as YAML ({' '.join(str(error).split())}); name a file, or {', '.join(bundled())}"
        ) from error
    if not isinstance(options, Mapping):
        raise ConfigError(f"{name}: holds no options; write lines of `name: value` with Beam's names")
    flags = []
    for option, value in options.items():
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, (Mapping, list)):
                raise ConfigError(f"{name}: {option} holds {each!r}; give a single value or a list of them")
            if each not in (None, False):
                flags.append(f"--{option}" if each is True else f"--{option}={each}")
    return flags, [option for option, value in options.items() if value is None]


def pipeline_options(beam_args: Sequence[str], rows: int = 0) -> PipelineOptions:
    """Beam's options; on this machine's own runner, worker processes for logs that are worth their start.

    Args:
      beam_args: Beam pipeline arguments. Words that belong to no flag do not matter, as to Beam: TFX's container
        entrypoint puts its own name among them.
      rows: of the log.

    Raises:
      ConfigError: an option is unknown or has a wrong value; the runner is unknown, lacks an option, or is Dask's,
        which loses rows.
    """
    known, unknown = _parse(beam_args)
    if flags := [word for word in unknown if word.startswith("-")]:
        raise ConfigError(_unknown(flags[0], known))
    _check_runner(known)
    options = PipelineOptions(list(beam_args))
    if known["runner"] in (None, "DirectRunner"):
        options.view_as(StandardOptions).runner = LOCAL_RUNNER
    direct = options.view_as(DirectOptions)
    if not any("direct_num_workers" in arg or "direct_running_mode" in arg for arg in beam_args):
        parallel = rows >= _PARALLEL_ROWS
        direct.direct_num_workers = min(os.cpu_count() or 1, _MAX_WORKERS) if parallel else 1
        direct.direct_running_mode = "multi_processing" if parallel else "in_memory"
    return options


def _parse(beam_args: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """Every option's value by Beam's own parser, and the words that it does not know."""
    parsers: list[argparse.ArgumentParser] = []

    def exact(parser: argparse.ArgumentParser) -> None:
        parser.allow_abbrev = False  # `--num_worker` would do on some runners and nothing on others
        parser.exit_on_error = False
        parsers.append(parser)

    try:
        PipelineOptions([]).get_all_options(add_extra_args_fn=exact)
        known, unknown = parsers[0].parse_known_args(list(beam_args))
    except argparse.ArgumentError as error:
        raise ConfigError(f"Beam refuses an option: {error}; correct it") from None
    return vars(known), unknown


def _unknown(word: str, known: Mapping[str, Any]) -> str:
    if not word.startswith("--"):
        return f"{word!r} is no Beam argument; write --NAME=VALUE"
    name = word[2:].split("=")[0]
    near = difflib.get_close_matches(name, known, n=1)
    return f"Beam knows no option --{name}; {f'did you mean --{near[0]}?' if near else 'leave it out'}"


def _check_runner(known: Mapping[str, Any]) -> None:
    runner = known["runner"]
    if runner is None:
        return
    if "dask" in runner.lower():
        raise ConfigError(
            "Beam's Dask runner returns wrong data; choose DirectRunner, FlinkRunner, SparkRunner or DataflowRunner"
        )
    if "." not in runner and runner not in StandardOptions.KNOWN_RUNNER_NAMES:
        raise ConfigError(
            f"Beam knows no runner {runner!r}; choose DirectRunner, FlinkRunner, SparkRunner or DataflowRunner"
        )
    if missing := [name for name in _NEEDED.get(runner.rsplit(".", 1)[-1], ()) if known[name] is None]:
        raise ConfigError(f"{runner} needs {', '.join(missing)}; add --{missing[0]}=VALUE")
