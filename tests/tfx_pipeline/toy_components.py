"""A pipeline of two Python components, for tests of the compiled specification."""

from tfx import v1 as tfx

String = tfx.types.standard_artifacts.String


@tfx.dsl.components.component
def Greet(name: tfx.dsl.components.Parameter[str], greeting: tfx.dsl.components.OutputArtifact[String]) -> None:
    greeting.value = f"hello {name}"
    greeting.set_int_custom_property("length", len(name))


@tfx.dsl.components.component
def Repeat(
    given: tfx.dsl.components.InputArtifact[String],
    again: tfx.dsl.components.Parameter[str],
    times: tfx.dsl.components.Parameter[int],
    out: tfx.dsl.components.OutputArtifact[String],
) -> None:
    """Reads its input as an artifact and as a value."""
    assert given.read() == again
    out.value = f"{again} " * times + str(given.get_int_custom_property("length"))


def pipeline(name: object = "you", **settings) -> tfx.dsl.Pipeline:
    """Greet, whose greeting Repeat takes as an artifact and as a parameter."""
    greet = Greet(name=name)
    greeting = greet.outputs["greeting"]
    repeat = Repeat(given=greeting, again=greeting.future()[0].value, times=2)
    return tfx.dsl.Pipeline("toy", "/toy-root", components=[greet, repeat], enable_cache=True, **settings)
