"""Reading a compiled pipeline: order, parameters, inputs, placeholders."""

import json
import pathlib

import compiled_fakes as fakes
import pytest
import yaml

from tfx_pipeline import compiled
from tfx_pipeline.compiled import CompiledError, Outputs


@pytest.fixture
def write(tmp_path):
    def to_file(spec, *platforms):
        file = tmp_path / "pipeline.yaml"
        file.write_text(yaml.safe_dump_all([spec, *platforms]), "utf-8")
        return file

    return to_file


def test_each_task_comes_behind_all_that_it_depends_on(write):
    spec = fakes.spec(
        a=fakes.task("b", inputs={"given": fakes.artifact("c")}),
        b=fakes.task(),
        c=fakes.task(parameters={"value": fakes.value("d")}),
        d=fakes.task(),
    )
    order = [task.name for task in compiled.read(write(spec)).tasks()]
    assert sorted(order) == ["a", "b", "c", "d"]
    assert order.index("a") > max(order.index("b"), order.index("c")) and order.index("c") > order.index("d")


def test_parameters_are_those_given_in_their_type_and_the_defaults(write):
    kinds = {"text": "STRING", "count": "NUMBER_INTEGER", "share": "NUMBER_DOUBLE", "on": "BOOLEAN"}
    declared = {name: {"parameterType": kind} for name, kind in kinds.items()}
    declared["share"]["defaultValue"] = 0.5
    pipeline = compiled.read(write(fakes.spec(declared, a=fakes.task())))
    given = {"text": "7", "count": "7", "on": "true"}
    assert pipeline.parameters(given) == {"text": "7", "count": 7, "share": 0.5, "on": True}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"n": "1", "m": "1"}, "the pipeline has no parameter m; it has n"),
        ({"n": "x"}, "parameter n must be NUMBER_INTEGER: got 'x'"),
        ({"n": "1.5"}, "parameter n must be NUMBER_INTEGER: got '1.5'"),
        ({"n": "true"}, "parameter n must be NUMBER_INTEGER: got 'true'"),
        ({}, "needs a value of parameter n"),
    ],
)
def test_wrong_parameters_are_refused(write, given, message):
    pipeline = compiled.read(write(fakes.spec({"n": {"parameterType": "NUMBER_INTEGER"}}, a=fakes.task())))
    with pytest.raises(CompiledError, match=message):
        pipeline.parameters(given)


def test_inputs_come_from_parameters_constants_job_and_tasks(write):
    sources = {
        "of_pipeline": {"componentInputParameter": "n"},
        "as_text": {"componentInputParameter": "n"},
        "constant": fakes.constant("fixed"),
        "day": fakes.constant("{{$.pipeline_job_create_time_utc}}"),
        "of_task": fakes.value("a"),
        "absent": {"componentInputParameter": "optional"},
    }
    task = fakes.task(
        "a", parameters=sources, types={"of_pipeline": "NUMBER_INTEGER"}, inputs={"in": fakes.artifact("a")}
    )
    declared = {"n": {"parameterType": "NUMBER_INTEGER"}, "optional": {"parameterType": "STRING", "isOptional": True}}
    _, task = compiled.read(write(fakes.spec(declared, a=fakes.task(), b=task))).tasks()
    made = {"name": "1", "uri": "/made", "type": {}, "metadata": {}}
    given = compiled.inputs(
        task, {"n": 3}, {"a": Outputs({"out": made}, {"out": "of a"})}, {"{{$.pipeline_job_create_time_utc}}": "today"}
    )
    assert given["parameterValues"] == {
        "of_pipeline": 3,
        "as_text": "3",
        "constant": "fixed",
        "day": "today",
        "of_task": "of a",
    }
    assert given["artifacts"] == {"in": {"artifacts": [made]}}


def test_an_output_that_was_not_handed_over_is_named(write):
    spec = fakes.spec(a=fakes.task(), b=fakes.task(inputs={"in": fakes.artifact("a", "nothing")}))
    _, task = compiled.read(write(spec)).tasks()
    with pytest.raises(CompiledError, match="task b needs artifact nothing of task a"):
        compiled.inputs(task, {}, {"a": Outputs({}, {})}, {})


def test_placeholders_are_filled_in(write):
    words = [
        "{{$.inputs.parameters['n']}}",
        "at={{$.outputs.artifacts['out'].uri}}",
        "{{$.inputs.artifacts['in'].path}}",
        "{{$.outputs.parameters['out'].output_file}}",
        "{{$}}",
    ]
    given = {
        "parameters": {"n": fakes.constant(2)},
        "types": {"n": "NUMBER_INTEGER"},
        "inputs": {"in": fakes.artifact("a")},
    }
    task = fakes.task("a", args=words, **given)
    _, task = compiled.read(write(fakes.spec(a=fakes.task(), b=task))).tasks()
    made = {"name": "1", "uri": "/made", "type": {}, "metadata": {}}
    given = {
        "inputs": compiled.inputs(task, {}, {"a": Outputs({"out": made}, {})}, {}),
        "outputs": compiled.outputs(task, pathlib.Path("/task")),
    }
    *words, whole = compiled.command(task, given)[3:]
    assert words == ["2", "at=/task/out", "/made", "/task/.parameters/out"]
    assert json.loads(whole) == given


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"triggerPolicy": {"condition": "true"}}, "task a is no plain container or importer but has triggerPolicy"),
        ({"parameterIterator": {"itemInput": "x"}}, "but has parameterIterator"),
    ],
)
def test_what_only_a_cluster_can_do_is_refused(write, change, message):
    spec = fakes.spec(a=fakes.task())
    spec["root"]["dag"]["tasks"]["a"].update(change)
    with pytest.raises(CompiledError, match=message):
        compiled.read(write(spec)).tasks()


def test_a_container_without_a_command_is_refused(write):
    spec = fakes.spec(a=fakes.task())
    del spec["deploymentSpec"]["executors"]["a_executor"]["container"]["command"]
    with pytest.raises(CompiledError, match="task a starts its image's own entry point, which is not here"):
        compiled.read(write(spec)).tasks()


def test_a_pipeline_inside_the_pipeline_is_refused(write):
    spec = fakes.spec(a=fakes.task())
    spec["components"]["a"] = {"dag": {"tasks": {}}}
    with pytest.raises(CompiledError, match="task a is no plain container or importer but has dag"):
        compiled.read(write(spec)).tasks()


@pytest.mark.parametrize("text", ["[]", "a: {", "nonsense: 1", "schemaVersion: 2.0.0"])
def test_another_file_is_refused_by_name(tmp_path, text):
    file = tmp_path / "other.yaml"
    file.write_text(text, "utf-8")
    with pytest.raises(CompiledError, match="other.yaml"):
        compiled.read(file)
