"""Running compiled pipelines as local processes."""

import json

import compiled_fakes as fakes
import pytest
import toy_components
import yaml

from tfx_pipeline import compiled, kubeflow_runner, run_compiled
from tfx_pipeline.compiled import CompiledError
from tfx_pipeline.kubeflow_settings import KubeflowSettings
from tfx_pipeline.local_cluster import LocalCluster, TaskError

# A container that writes its parameter `text` as its output, both ways, and a line into the file `ran`.
WRITE = """
import json, os, pathlib, sys
given = json.loads(sys.argv[1])
text = given["inputs"]["parameterValues"]["text"]
out = given["outputs"]["artifacts"]["out"]["artifacts"][0]["uri"]
pathlib.Path(out).write_text(text)
recorded = {"artifacts": {"out": {"artifacts": [{"uri": out, "metadata": {"length": len(text)}}]}},
            "parameterValues": {"out": text + "!"}}
pathlib.Path(given["outputs"]["outputFile"]).write_text(json.dumps(recorded))
with open(os.environ["RAN"], "a") as file:
    file.write(text + "\\n")
"""
# One that fails until its folder has been tried three times.
FLAKY = """
import json, pathlib, sys
tried = pathlib.Path(json.loads(sys.argv[1])["outputs"]["outputFile"]).parent / "tried"
tried.open("a").write("x")
sys.exit("not yet" if len(tried.read_text()) < 3 else 0)
"""
# One that writes an environment variable's value, or none, as its output.
SHOW = """
import json, os, pathlib, sys
out = json.loads(sys.argv[1])["outputs"]["artifacts"]["out"]["artifacts"][0]["uri"]
pathlib.Path(out).write_text(os.environ.get("KEY", "none") + " " + os.environ.get("PLAIN", "none"))
"""
RETRY = {"maxRetryCount": 2, "backoffDuration": "5s", "backoffFactor": 3, "backoffMaxDuration": "600s"}


def write(text, *after, **more):
    caching = {"cachingOptions": {"enableCache": True}}
    return fakes.task(*after, script=WRITE, parameters={"text": text}, **{**caching, **more})


def text_of(run):
    with open(run.outputs.artifacts["out"]["uri"], encoding="utf-8") as file:
        return file.read()


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs a specification; `run.pauses` collects the pauses between retries."""
    monkeypatch.setenv("RAN", str(tmp_path / "ran"))
    file = tmp_path / "pipeline.yaml"

    def of(spec, *platforms, **parameters):
        file.write_text(yaml.safe_dump_all([spec, *platforms]), "utf-8")
        return LocalCluster(tmp_path / "root", sleep=of.pauses.append).run(compiled.read(file), parameters)

    of.pauses = []
    of.ran = lambda: (tmp_path / "ran").read_text().split()
    return of


def test_outputs_are_handed_on(run):
    done = run(fakes.spec(a=write(fakes.constant("one")), b=write(fakes.value("a"), "a")))
    assert list(done) == ["a", "b"]
    assert text_of(done["b"]) == "one!" and done["b"].outputs.parameters == {"out": "one!!"}
    assert done["a"].outputs.artifacts["out"]["metadata"] == {"length": 3}


def test_equal_inputs_come_from_the_cache_until_a_parameter_changes(run):
    declared = {"text": {"parameterType": "STRING", "defaultValue": "one"}}
    given = {"componentInputParameter": "text"}
    spec = fakes.spec(
        declared,
        a=write(given),
        b=write(fakes.constant("always"), "a", cachingOptions={}),
        c=write(fakes.constant("last"), inputs={"in": fakes.artifact("a")}),
    )
    states = [{name: each.state for name, each in run(spec, **given).items()} for given in ({}, {}, {"text": "two"})]
    assert states == [
        {"a": "ran", "b": "ran", "c": "ran"},
        {"a": "cached", "b": "ran", "c": "cached"},
        {"a": "ran", "b": "ran", "c": "ran"},
    ]
    assert sorted(run.ran()) == sorted("one always last always two always last".split())


def test_a_removed_artifact_is_made_again(run, tmp_path):
    spec = fakes.spec(a=write(fakes.constant("one")))
    first = run(spec)["a"].outputs.artifacts["out"]["uri"]
    (tmp_path / first).unlink()
    assert run(spec)["a"].state == "ran"


def test_a_failed_task_is_tried_again_as_its_policy_says(run):
    done = run(fakes.spec(a=fakes.task(script=FLAKY, retryPolicy=RETRY)))
    assert done["a"].attempts == 3 and run.pauses == [5.0, 15.0]


@pytest.mark.parametrize(
    ("policy", "attempts"),
    [({}, 1), ({**RETRY, "maxRetryCount": 1}, 2), ({**RETRY, "backoffMaxDuration": "10s"}, 2)],
    ids=["no retries", "one retry", "too late for the second"],
)
def test_a_task_without_retries_left_stops_the_run(run, policy, attempts):
    failing = fakes.task(script=FLAKY, retryPolicy=policy)
    spec = fakes.spec(a=failing, b=write(fakes.constant("never"), "a"))
    with pytest.raises(
        TaskError, match=f"task a failed {attempts} times, last with exit code 1: not yet; see"
    ) as stopped:
        run(spec)
    assert f"attempt-{attempts}.log" in str(stopped.value)
    with pytest.raises(FileNotFoundError):
        run.ran()


def test_a_failed_task_is_not_cached(run):
    spec = fakes.spec(a=fakes.task(script="raise SystemExit(1)", cachingOptions={"enableCache": True}))
    for _ in range(2):
        with pytest.raises(TaskError):
            run(spec)


def test_a_secret_reaches_its_task_alone(run, monkeypatch):
    monkeypatch.setenv("KEY", "hidden")
    spec = fakes.spec(a=fakes.task(script=SHOW), b=fakes.task(script=SHOW))
    spec["deploymentSpec"]["executors"]["b_executor"]["container"]["env"] = [{"name": "PLAIN", "value": "1"}]
    done = run(spec, fakes.secret_env(a={"KEY": "masking"}))
    assert (text_of(done["a"]), text_of(done["b"])) == ("hidden none", "none 1")


def test_a_secret_that_is_not_at_hand_stops_the_run_before_it_starts(run, monkeypatch):
    monkeypatch.delenv("KEY", raising=False)
    spec = fakes.spec(a=write(fakes.constant("never")), b=fakes.task("a", script=SHOW))
    with pytest.raises(CompiledError, match="task b takes KEY from secret masking: set that environment variable"):
        run(spec, fakes.secret_env(b={"KEY": "masking"}))
    with pytest.raises(FileNotFoundError):
        run.ran()


def test_a_mounted_secret_is_refused(run):
    platform = fakes.secret_env(a={})
    mounted = {"secretAsVolume": [{"secretName": "s", "mountPath": "/var/s"}]}
    platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]["a_executor"] = mounted
    with pytest.raises(CompiledError, match="task a mounts secret s at /var/s, which only a cluster can do"):
        run(fakes.spec(a=fakes.task()), platform)


def test_a_program_that_is_not_here_is_a_failed_task(run):
    spec = fakes.spec(a=fakes.task())
    spec["deploymentSpec"]["executors"]["a_executor"]["container"]["command"] = ["no-such-program"]
    with pytest.raises(TaskError, match="task a failed 1 times, last with exit code 127: .*no-such-program"):
        run(spec)


@pytest.mark.parametrize(("typed", "wanted"), [(False, {"instanceSchema": ""}), (True, fakes.ARTIFACT["artifactType"])])
def test_only_a_typed_cluster_hands_artifacts_over_with_their_types(tmp_path, typed, wanted):
    file = tmp_path / "pipeline.yaml"
    file.write_text(
        yaml.safe_dump(fakes.spec(a=fakes.task(), b=fakes.task(inputs={"in": fakes.artifact("a")}))), "utf-8"
    )
    LocalCluster(tmp_path / "root", typed).run(compiled.read(file))
    (written,) = tmp_path.glob("root/small/*/b/executor_input.json")
    given = json.loads(written.read_text())
    assert given["inputs"]["artifacts"]["in"]["artifacts"][0]["type"] == wanted
    assert given["outputs"]["artifacts"]["out"]["artifacts"][0]["type"] == fakes.ARTIFACT["artifactType"]


def test_an_importer_hands_over_what_it_names(run, tmp_path):
    (tmp_path / "given").write_text("there")
    spec = fakes.spec(a=fakes.task(parameters={"uri": fakes.constant(str(tmp_path / "given"))}))
    importer = {"artifactUri": {"runtimeParameter": "uri"}, "typeSchema": fakes.ARTIFACT["artifactType"]}
    spec["deploymentSpec"]["executors"]["a_executor"] = {"importer": importer}
    assert text_of(run(spec)["a"]) == "there"


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """The toy pipeline of TFX components, compiled."""
    output = tmp_path_factory.mktemp("toy") / "toy.yaml"
    settings = KubeflowSettings(parameters={"who": "name"})
    kubeflow_runner.compile_pipeline(toy_components.pipeline(), output, "image:1", settings)
    return output


def test_tfx_components_run_through_their_own_container_entry_point(toy, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PYTHONPATH", toy_components.__file__.rpartition("/")[0])
    arguments = ["--pipeline", str(toy), "--root", str(tmp_path), "--parameter", "who=all"]
    assert run_compiled.main(arguments) == 0
    printed = capsys.readouterr().out
    assert "Greet" in printed and "Repeat" in printed
    (out,) = tmp_path.glob("toy/*/Repeat/out")
    assert out.read_text() == "hello all hello all 3"
    given = json.loads((out.parent / "executor_input.json").read_text())
    assert given["inputs"]["artifacts"]["given"]["artifacts"][0]["type"] == {"instanceSchema": ""}


def test_the_command_line_fails_with_one_line(toy, tmp_path, capsys):
    for arguments in (["--parameter", "who"], ["--parameter", "where=x"]):
        assert run_compiled.main(["--pipeline", str(toy), "--root", str(tmp_path), *arguments]) == 1
        printed = capsys.readouterr()
        assert printed.out == "" and printed.err.startswith("run_compiled: ") and printed.err.count("\n") == 1
