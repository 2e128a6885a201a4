import argparse
import os

import pytest

from hrlrec_tf.data import beam_options
from hrlrec_tf.errors import ConfigError

CLUSTERS = {
    "dataflow": {"project": "p", "region": "r", "temp_location": "gs://b/t", "sdk_container_image": "i"},
    "flink": {"flink_master": "host:8081", "environment_config": "image"},
    "spark": {"spark_master_url": "spark://host:7077", "environment_config": "image"},
}


def chosen(*words):
    parser = argparse.ArgumentParser()
    beam_options.add_arguments(parser)
    return beam_options.beam_args(parser.parse_args(words))


def flags(options):
    return [f"--{name}={value}" for name, value in options.items()]


def write(folder, text):
    path = folder / "options.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_arguments_stand_behind_two_dashes():
    given = chosen("--", "--runner=FlinkRunner", "--parallelism=4")
    options = beam_options.pipeline_options(given).get_all_options()
    assert options["runner"] == "FlinkRunner" and options["parallelism"] == 4


def test_workers_are_worth_it_for_large_logs_only():
    small, large = (beam_options.pipeline_options([], rows).get_all_options() for rows in (1000, 10**7))
    assert small["direct_running_mode"] == "in_memory" and small["direct_num_workers"] == 1
    assert large["direct_running_mode"] == "multi_processing"
    assert large["direct_num_workers"] == min(os.cpu_count(), 8)
    stated = beam_options.pipeline_options(["--direct_num_workers=3"], 10**7).get_all_options()
    assert stated["direct_num_workers"] == 3


@pytest.mark.parametrize("words", [(), ("--runner=DirectRunner",)])
def test_this_machine_uses_the_runner_that_is_there(words):
    assert beam_options.pipeline_options(words).get_all_options()["runner"] == beam_options.LOCAL_RUNNER


@pytest.mark.parametrize("runner", ["DaskRunner", "apache_beam.runners.dask.dask_runner.DaskRunner"])
def test_dask_is_refused(runner):
    with pytest.raises(ConfigError, match="Dask"):
        beam_options.pipeline_options([f"--runner={runner}"])


def test_the_shipped_files_are_those_of_three_clusters():
    assert beam_options.bundled() == sorted(CLUSTERS)


@pytest.mark.parametrize("name", CLUSTERS)
def test_a_shipped_file_is_made_of_options_that_beam_knows(name):
    given = chosen("--runner-options", name, "--", *flags(CLUSTERS[name]))
    options = beam_options.pipeline_options(given).get_all_options()
    assert options["runner"].lower() == f"{name}runner"
    assert CLUSTERS[name].items() <= options.items()
    stated, missing = beam_options.read(name)
    assert sorted(missing) == sorted(CLUSTERS[name])
    for flag in stated:
        option, _, value = flag.removeprefix("--").partition("=")
        assert str(options[option]) == (value or "True")


@pytest.mark.parametrize(("name", "option"), [(name, option) for name in CLUSTERS for option in CLUSTERS[name]])
def test_an_option_that_a_shipped_file_leaves_open_is_named(name, option):
    rest = {each: value for each, value in CLUSTERS[name].items() if each != option}
    with pytest.raises(ConfigError, match=option):
        chosen("--runner-options", name, "--", *flags(rest))


def test_dataflow_needs_a_place_without_the_file_too():
    with pytest.raises(ConfigError, match="DataflowRunner needs region, temp_location; add --region=VALUE"):
        beam_options.pipeline_options(["--runner=DataflowRunner", "--project=p"])


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--flink_mster=host:8081", "no option --flink_mster; did you mean --flink_master?"),
        ("--flink_maste=host:8081", "no option --flink_maste; did you mean --flink_master?"),  # no abbreviations
        ("--zzz", "no option --zzz; leave it out"),
        ("--parallelism=many", "parallelism.*many"),
        ("--flink_version=0.1", "flink_version.*0.1"),
        ("--runner=FlinkRuner", "no runner 'FlinkRuner'; choose"),
    ],
)
def test_what_beam_would_ignore_or_stumble_over_later_is_refused_by_name(argument, message, capsys):
    for refuse in (lambda: beam_options.pipeline_options([argument]), lambda: chosen("--", argument)):
        with pytest.raises(ConfigError, match=message.replace("?", r"\?")):
            refuse()
    assert "usage" not in capsys.readouterr().err


def test_a_stray_word_is_refused_on_the_command_line_and_ignored_from_tfx():
    with pytest.raises(ConfigError, match="'runner=FlinkRunner' is no Beam argument; write --NAME=VALUE"):
        chosen("--", "runner=FlinkRunner")
    options = beam_options.pipeline_options(["/tfx/entrypoint.py", "--parallelism", "3"])
    assert options.get_all_options()["parallelism"] == 3


def test_a_file_gives_flags_lists_and_values_and_the_command_line_stands_above_it(tmp_path):
    text = "runner: FlinkRunner\nparallelism: 4\nflink_submit_uber_jar: true\nstreaming: false\nexperiments: [a, b]\n"
    given = chosen("--runner-options", write(tmp_path, text), "--", "--parallelism=9")
    options = beam_options.pipeline_options(given).get_all_options()
    assert options["parallelism"] == 9 and options["flink_submit_uber_jar"] and not options["streaming"]
    assert options["experiments"][:2] == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("paralelism: 4", "did you mean --parallelism"),
        ("- --parallelism=4", "holds no options"),
        ("", "holds no options"),
        ("parallelism: {a: 1}", "parallelism holds {'a': 1}"),
        ("parallelism: [", "cannot be read as YAML"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        chosen("--runner-options", write(tmp_path, text))


def test_an_absent_file_is_refused_with_the_names_that_ship():
    with pytest.raises(ConfigError, match="nowhere.yaml: cannot be read.*dataflow, flink, spark"):
        chosen("--runner-options", "nowhere.yaml")
