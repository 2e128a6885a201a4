"""Running a DAG, on small pipelines of stock and fake components."""

import pytest
from tfx import v1 as tfx

from hrlrec_tf.errors import HrlrecError
from tfx_pipeline import dag

Integer = tfx.types.standard_artifacts.Integer


@tfx.dsl.components.component
def Source(out: tfx.dsl.components.OutputArtifact[Integer], value: tfx.dsl.components.Parameter[int]) -> None:
    out.value = value


@tfx.dsl.components.component
def Double(given: tfx.dsl.components.InputArtifact[Integer], out: tfx.dsl.components.OutputArtifact[Integer]) -> None:
    out.value = 2 * given.read()
    out.set_string_custom_property("note", "doubled")


@tfx.dsl.components.component
def Refuse(given: tfx.dsl.components.InputArtifact[Integer], kind: tfx.dsl.components.Parameter[str]) -> None:
    raise {"gate": HrlrecError, "bug": KeyError}[kind]("of this")


@tfx.dsl.components.component
def After(given: tfx.dsl.components.InputArtifact[Integer]) -> None:
    raise AssertionError("nothing may run behind a failed component")


def run(folder, value=1, digests=("a", "b"), refuse=None):
    """Runs Source -> Double (-> Refuse -> After); returns the calls of the progress hook and the runs."""
    source = Source(value=value)
    double = Double(given=source.outputs["out"])
    components = [source, double]
    if refuse:
        refusing = Refuse(given=double.outputs["out"], kind=refuse)
        after = After(given=double.outputs["out"])
        after.add_upstream_node(refusing)
        components += [refusing, after]
    for component, digest in zip(components, digests, strict=False):
        component.spec.exec_properties["digest"] = digest
    pipeline = tfx.dsl.Pipeline("small", str(folder / "root"), components=components, enable_cache=True)
    calls = []
    try:
        done = dag.run_dag(pipeline, str(folder / "metadata.sqlite"), lambda *call: calls.append(call))
    except HrlrecError as error:
        return calls, error
    return calls, done


def test_components_run_in_order_and_hand_over_their_outputs(tmp_path):
    calls, done = run(tmp_path, value=21)
    assert calls == [("Source", "running"), ("Source", "ran"), ("Double", "running"), ("Double", "ran")]
    with open(done["Double"].outputs["out"], encoding="utf-8") as file:
        assert file.read() == "42"
    assert done["Double"].properties["out"]["note"] == "doubled"


def test_an_unchanged_second_run_comes_from_the_cache_with_its_outputs(tmp_path):
    _, first = run(tmp_path)
    calls, second = run(tmp_path)
    assert [state for _, state in calls] == ["running", "cached"] * 2
    assert {name: each.outputs for name, each in second.items()} == {name: each.outputs for name, each in first.items()}


@pytest.mark.parametrize(
    ("digests", "states"), [(("x", "b"), ["ran", "ran"]), (("a", "x"), ["cached", "ran"]), (("a", "b"), ["cached"] * 2)]
)
def test_a_changed_digest_reruns_its_component_and_what_depends_on_it(tmp_path, digests, states):
    run(tmp_path)
    calls, _ = run(tmp_path, digests=digests)
    assert [state for _, state in calls if state != "running"] == states


@pytest.mark.parametrize(
    ("kind", "error", "message"),
    [("gate", HrlrecError, "of this"), ("bug", dag.PipelineError, "Refuse failed: KeyError: 'of this'")],
)
def test_a_failing_component_ends_the_run(tmp_path, kind, error, message):
    calls, raised = run(tmp_path, refuse=kind)
    assert type(raised) is error and str(raised) == message
    assert calls[-1] == ("Refuse", "failed")


def test_a_failure_is_not_cached(tmp_path):
    run(tmp_path, refuse="gate")
    calls, _ = run(tmp_path, refuse="gate")
    assert [state for _, state in calls if state != "running"] == ["cached", "cached", "failed"]
