"""What a container of the compiled pipeline runs: TFX's own entry point, given what open-source Kubeflow leaves out.

The driver of open-source Kubeflow Pipelines hands over input artifacts with an empty type, which TFX's entry point
cannot read. The component's declaration, which TFX puts on the command line, knows each input's type: it is filled in
here. All else is `tfx.orchestration.kubeflow.v2.container.kubeflow_v2_run_executor`.

TFX's process was seen to crash in C++ destructors after its work was done and recorded
(https://github.com/sky-uk/kfp-operator/pull/1286); so a finished one ends at once, without them.
"""

import json
import logging
import os
import runpy
import sys

TFX_ENTRYPOINT = "tfx.orchestration.kubeflow.v2.container.kubeflow_v2_run_executor"
_INVOCATION = "--json_serialized_invocation_args"
_DECLARATION = "--json_serialized_inputs_spec_args"


def with_types(invocation: str, declaration: str) -> str:
    """The executor input with the declared type in each input artifact.

    Args:
      invocation: `ExecutorInput` as JSON.
      declaration: the component's `ComponentInputsSpec` as JSON.
    """
    given, declared = json.loads(invocation), json.loads(declaration)
    for name, artifacts in given.get("inputs", {}).get("artifacts", {}).items():
        for artifact in artifacts.get("artifacts", []):
            artifact["type"] = declared["artifacts"][name]["artifactType"]
    return json.dumps(given)


def main(arguments: list[str]) -> None:
    """Runs TFX's entry point with `arguments`, which are its own; ends the process."""
    arguments = list(arguments)
    place = arguments.index(_INVOCATION) + 1
    arguments[place] = with_types(arguments[place], arguments[arguments.index(_DECLARATION) + 1])
    sys.argv = [sys.argv[0], *arguments]
    try:
        runpy.run_module(TFX_ENTRYPOINT, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if end.code:
            raise
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
